"""Bytes from one socket to another, unread: bodies of known length, TCP sessions, upgraded connections.

A relay is one direction. All it knows stands in its attributes and it awaits nothing but readiness, so cancelling one
without `left` at any await loses no byte: what it has not passed on is then in `held`, and it may be run again. One of
known length is a body, which cannot go on elsewhere: what is in its pipe is lost with it. A relay reads until there
is much to move, then splices, where neither side speaks TLS; backpressure is not reading.

One that splices is faster than its source, and would move 32 KiB at a time, as they come. To move 32 KiB costs half of
what a MiB does, so it leaves a source alone for a moment that has given little twice: 10 MiB cost 3.0 to 3.3 ms of
CPU, whether it catches up or not, instead of 3.1 to 4.1 (nginx as the source, 4 connections).
"""

import os
from collections.abc import Callable
from typing import Final

import trio

from sozu_trio.config.limits import READ_SIZE, RELAY_SIZE, SPLICE_FROM
from sozu_trio.proxy.ends import CUT
from sozu_trio.proxy.pipes import Pipe, PipeStock
from sozu_trio.proxy.stream import Stream

FLAGS = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK

LITTLE: Final = 131072
"""Bytes, less than which are little."""
ALONE: Final = 0.001
"""Seconds for which a source is left alone: a fast one has a MiB then, and its socket has room for it."""
WORTH: Final = 1 << 20
"""Bytes that must be left to come: what is nearly over is not to be late."""
NOTHING: Final = memoryview(b"")

Waiting = Callable[[Stream], None]
"""Called with the peer that is waited for, before each wait."""


class Relay:
    """One direction: `left` bytes, or all there are where it is None.

    `await run()` returns at the end of the input or of `left`; `ended` tells that the source has closed. Raises
    OSError from either side; `failed` is then the stream it came from.
    """

    __slots__ = (
        "_bulk",
        "_little",
        "_moved",
        "_pipe",
        "_pipes",
        "_sink",
        "_source",
        "_splices",
        "_waiting",
        "ended",
        "failed",
        "held",
        "left",
        "moved",
        "piped",
    )

    def __init__(
        self,
        source: Stream,
        sink: Stream,
        pipes: PipeStock,
        *,
        left: int | None,
        waiting: Waiting,
        moved: Callable[[], None] | None = None,
    ) -> None:
        self._source = source
        self._sink = sink
        self._pipes = pipes
        self._pipe: Pipe | None = None
        # What TLS has to say is not what the kernel could move.
        self._splices = source.splices and sink.splices
        self._bulk = left is not None and left >= SPLICE_FROM
        self._waiting = waiting
        self._moved = moved
        self.left = left
        self.moved = 0
        self.held = NOTHING
        self.piped = 0
        self._little = 0
        """How often in a row there was little to splice."""
        self.ended = False
        self.failed: Stream | None = None

    async def run(self) -> None:
        try:
            while True:
                if self.held or self.piped:
                    await self._flush()
                elif self.ended or self.left == 0:
                    return
                elif self._little == 2:
                    await self._leave_alone()
                else:
                    await self._fill()
        except trio.Cancelled:
            if self.left is None:
                self._empty_pipe()
            raise
        finally:
            self._release()

    async def _leave_alone(self) -> None:
        self._little = 0
        self._release()
        await trio.sleep(ALONE)

    def _empty_pipe(self) -> None:
        """Hold what is in the pipe, which goes back to the stock."""
        while self._pipe is not None and self.piped:
            data = os.read(self._pipe.out, self.piped)
            self.piped -= len(data)
            self.held = memoryview(bytes(self.held) + data)

    async def _fill(self) -> None:
        source = self._source
        if self._bulk and self._splices and self._pipe is None:
            self._pipe = self._pipes.borrow()
        try:
            count = self._splice_in() if self._pipe else self._read()
        except BlockingIOError:
            self._release()
            self._waiting(source)
            await source.wait_readable()
            return
        except OSError:
            self.failed = source
            raise
        source.bytes_in += count
        self.ended = count == 0
        if self.left is not None:
            self.left -= count

    def _read(self) -> int:
        # Where all pipes are lent many are slow, and what each of them is held for is memory.
        size = READ_SIZE if self._bulk and self._splices else RELAY_SIZE
        data = self._source.receive_now(size if self.left is None else min(self.left, size))
        self.held = memoryview(data)
        if self.left is None:
            self._bulk = len(data) >= SPLICE_FROM
        return len(data)

    def _splice_in(self) -> int:
        assert self._pipe is not None
        size = self._pipe.size if self.left is None else min(self.left, self._pipe.size)
        self.piped = os.splice(self._source.sock.fileno(), self._pipe.into, size, flags=FLAGS)
        is_little = self.piped < LITTLE and (self.left is None or self.left >= WORTH)
        self._little = self._little + 1 if is_little else 0
        if self.left is None:
            self._bulk = self.piped >= SPLICE_FROM
        return self.piped

    async def _flush(self) -> None:
        sink = self._sink
        try:
            count = self._splice_out() if self.piped else self._write()
        except BlockingIOError:
            self._waiting(sink)
            await sink.wait_writable()
            return
        except OSError:
            self.failed = sink
            raise
        sink.bytes_out += count
        self.moved += count
        if self._moved is not None:
            self._moved()
        await sink.count()

    def _write(self) -> int:
        count = self._sink.send_now(self.held)
        # A slice of no length would keep all of the buffer until more comes, which may take hours: 300 idle sessions
        # kept 34 MiB of messages of 60 kB.
        self.held = self.held[count:] if count < len(self.held) else NOTHING
        return count

    def _splice_out(self) -> int:
        assert self._pipe is not None
        count = os.splice(self._pipe.out, self._sink.sock.fileno(), self.piped, flags=FLAGS)
        self.piped -= count
        if not self.piped and not self._bulk:
            self._release()
        return count

    def finish(self) -> None:
        """Pass the end of the input on: the sink gets FIN and may still be read from."""
        self._sink.shutdown()

    def _release(self) -> None:
        if self._pipe is not None:
            self._pipes.give_back(self._pipe, empty=not self.piped)
            self._pipe = None


class _Idleness:
    """What both directions of a tunnel put off: its deadline. They do not refer to the tunnel for it, which refers to
    them: a cycle, and what they hold would be left to the garbage collector.
    """

    __slots__ = ("scope", "timeout")

    def __init__(self, timeout: float) -> None:
        """`timeout`: seconds, 0 = none."""
        self.timeout = timeout
        self.scope = trio.CancelScope()

    def put_off(self) -> None:
        if self.timeout:
            self.scope.deadline = trio.current_time() + self.timeout


class Tunnel:
    """Both directions at once, each closed when its source has closed: a peer may shut its side and read on for
    hours.
    """

    def __init__(
        self,
        client: Stream,
        backend: Stream,
        pipes: PipeStock,
        *,
        idle_timeout: float,
        idle_left: float | None = None,
        to_backend: bytes = b"",
        to_client: bytes = b"",
        ended: tuple[bool, bool] = (False, False),
    ) -> None:
        """`to_backend` and `to_client` have been read already and go first; `ended`: which of the two had all there
        was. `idle_left`: seconds of `idle_timeout` that are left at first, None for all of them.
        """
        self.client = client
        self.backend = backend
        self.failed: Stream | None = None
        self.timed_out = False
        self.paused = False
        """`run` returned because of `cancel`, and may be called again: nothing is lost."""
        self._idle = _Idleness(idle_timeout)
        self._is_cut = False
        self._is_pausing = False
        self._idle_left = idle_timeout if idle_left is None else idle_left
        self._directions = [
            Relay(source, sink, pipes, left=None, waiting=_ignore, moved=self._idle.put_off)
            for source, sink in ((client, backend), (backend, client))
        ]
        for relay, first, is_over in zip(self._directions, (to_backend, to_client), ended, strict=True):
            relay.held = memoryview(first)
            relay.ended = is_over

    async def run(self) -> None:
        """Relay until both have closed, one has failed, or no byte has moved in either direction for the idle timeout
        (0 = none).
        """
        scope = self._idle.scope
        if self.idle_timeout:
            scope.deadline = trio.current_time() + self._idle_left
        with scope:
            try:
                async with trio.open_nursery() as nursery:
                    for relay in self._directions:
                        nursery.start_soon(self._one_way, relay)
            except* OSError:
                self.failed = next((relay.failed for relay in self._directions if relay.failed), None)
        self.paused = self._is_pausing and scope.cancelled_caught and not (self._is_cut or self.failed)
        if self._is_cut:
            self.failed = self.backend
        elif self.paused:
            self._is_pausing = False
            self._idle_left = max(0.0, scope.deadline - trio.current_time())
            self._idle.scope = trio.CancelScope()
        else:
            self.timed_out = scope.cancelled_caught and not self._is_pausing

    def cancel(self, reason: str | None = None) -> None:
        """Have `run` return, so that the tunnel can move, or be run again."""
        self._is_pausing = True
        self._idle.scope.cancel(reason=reason)

    @property
    def idle_timeout(self) -> float:
        """Seconds without a byte in either direction after which it ends; 0 = none."""
        return self._idle.timeout

    @property
    def idle_left(self) -> float:
        """Seconds until it has been idle for too long, when it was `paused`, or begins; 0 where there is no limit."""
        return self._idle_left if self.idle_timeout else 0.0

    @property
    def ways(self) -> list[tuple[bytes, bool]]:
        """To the backend and to the client: what is held, and whether that is all there will be."""
        return [(bytes(relay.held), relay.ended) for relay in self._directions]

    def cut(self) -> None:
        """End it at once because the backend's connection is cut, which nobody may be waiting for just now."""
        self._is_cut = True
        self._idle.scope.cancel(reason="the backend's connection was cut")

    async def _one_way(self, relay: Relay) -> None:
        await relay.run()
        relay.finish()

    @property
    def outcome(self) -> str:
        """Why it ended, in few words."""
        if self._is_cut:
            return f"{CUT}: its backend was removed"
        if self.failed:
            return (
                "the client broke the connection" if self.failed is self.client else "the backend broke the connection"
            )
        return "idle for too long" if self.timed_out else "complete"


def _ignore(_: Stream) -> None:
    """A tunnel has one deadline for both directions."""
