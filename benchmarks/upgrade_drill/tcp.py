"""TCP clients: each sends a stream of known bytes piece by piece, gets it back at the same time, and compares.

At the end it closes its side, and what it has sent must have come back to the last byte before the other side closes.
"""

import trio

from benchmarks.upgrade_drill.keep_alive import PATIENCE
from benchmarks.upgrade_drill.known_bytes import Comparison, KnownBytes
from benchmarks.upgrade_drill.tally import Tally

PIECE = 8192
"""Bytes sent at once."""


async def keep_streaming(
    address: tuple[str, int], seed: str, tally: Tally, *, first: float, every: float, over: trio.Event
) -> None:
    """One client: a PIECE at `first` and `every` so many seconds until `over`, then to the last byte."""
    try:
        with trio.fail_after(PATIENCE):
            stream = await trio.open_tcp_stream(*address)
    except (OSError, trio.TooSlowError) as error:
        tally.sessions += 1
        tally.cut += 1
        tally.because(f"TCP: not opened: {str(error) or 'no answer'}")
        return
    tally.sessions += 1
    session = Session(seed, tally)
    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(session.listen, stream)
        await session.speak(stream, max(first, trio.current_time()), every, over)
        with trio.move_on_after(PATIENCE):
            await session.ended.wait()
        nursery.cancel_scope.cancel(reason="the stream is complete, or will not be")
    session.settle()


class Session:
    """One stream, both ways."""

    def __init__(self, seed: str, tally: Tally) -> None:
        self.ended = trio.Event()
        """Nothing can come any more."""
        self._tally = tally
        self._known = KnownBytes(seed)
        self._returned = Comparison(seed)
        self._sent = 0
        self._complete = False

    async def speak(self, stream: trio.SocketStream, first: float, every: float, over: trio.Event) -> None:
        """Send until `over`, then the end of the stream; or until the session has ended."""
        due = first
        try:
            while not over.is_set() and not self.ended.is_set():
                await trio.sleep_until(due)
                self._sent += PIECE
                with trio.fail_after(PATIENCE):
                    await stream.send_all(self._known.take(PIECE))
                due += every
            self._complete = not self.ended.is_set()
            await stream.send_eof()
        except (trio.BrokenResourceError, trio.TooSlowError) as error:
            self._tally.because(f"TCP: sending failed: {error.__cause__ or 'nobody takes it'}")
            self._complete = False
            self.ended.set()

    async def listen(self, stream: trio.SocketStream) -> None:
        """Compare until the other side closes."""
        try:
            async for data in stream:
                self._returned.feed(bytes(data))
        except trio.BrokenResourceError as error:
            self._tally.because(f"TCP: the session broke: {error.__cause__ or error}")
        self.ended.set()

    def settle(self) -> None:
        """What has not come by now is missing; what came beyond what was sent is wrong."""
        missing, surplus = max(self._sent - self._returned.received, 0), max(self._returned.received - self._sent, 0)
        self._tally.streamed += self._sent
        self._tally.missing += missing
        self._tally.wrong += self._returned.wrong + surplus
        if missing or not (self._complete and self.ended.is_set()):
            self._tally.cut += 1
            self._tally.because("TCP: the session ended before all was back, or did not end when all was sent")
