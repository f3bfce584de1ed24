"""WebSockets as the drill needs them: binary messages of one size, one frame each, so that 2,500 a second cost little.

Frames are those of RFC 6455 §5.2. A client's are masked with zeros, which the RFC allows and no proxy may mind: a
tunnel passes bytes on as they are.
"""

import base64
import hashlib
import secrets
import struct

import trio

from benchmarks.upgrade_drill.keep_alive import PATIENCE, Asked
from benchmarks.upgrade_drill.numbers import Numbers
from benchmarks.upgrade_drill.tally import Tally

FILLER = b"a message of the upgrade drill: "
SIZE = 8 + len(FILLER)
"""Bytes of a message: its number and the filler."""
FROM_SERVER = bytes([0x82, SIZE])
FROM_CLIENT = bytes([0x82, 0x80 | SIZE]) + bytes(4)
"""Binary, final; with a mask of zeros."""
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
"""RFC 6455 §1.3."""


class Broken(Exception):
    """A session did not open, or ended by itself; the message says how."""


def accept_for(key: bytes) -> bytes:
    """The value of Sec-WebSocket-Accept (RFC 6455 §4.2.2)."""
    return base64.b64encode(hashlib.sha1(key + GUID).digest())


async def keep_echoing(asked: Asked, tally: Tally, *, first: float, every: float, over: trio.Event) -> None:
    """One client: a message at `first` and `every` so many seconds until `over`, then wait for what is missing."""
    session = Session(tally)
    try:
        with trio.fail_after(PATIENCE):
            stream = await open_session(asked)
    except (Broken, OSError, trio.BrokenResourceError, trio.TooSlowError) as error:
        tally.sessions += 1
        tally.cut += 1
        tally.because(f"WebSocket: not opened: {str(error) or 'no answer'}")
        return
    tally.sessions += 1
    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(session.listen, stream)
        await session.speak(stream, max(first, trio.current_time()), every, over)
        await session.wait_for_the_rest()
        nursery.cancel_scope.cancel(reason="all echoes are there, or will not come")
    session.settle()


async def open_session(asked: Asked) -> trio.SocketStream:
    """A connection that has been upgraded. Raises Broken, OSError, BrokenResourceError."""
    key = base64.b64encode(secrets.token_bytes(16))
    stream = await trio.open_tcp_stream(asked.host, asked.port)
    lines = (f"GET {asked.target} HTTP/1.1", f"Host: {asked.authority}", "Connection: Upgrade", "Upgrade: websocket")
    try:
        head = "\r\n".join((*lines, "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key.decode()}", "", ""))
        await stream.send_all(head.encode())
        answer = await read_head(stream)
        if not answer.startswith(b"HTTP/1.1 101 ") or accept_for(key) not in answer:
            raise Broken(f"answered {answer[:60]!r}" if answer else "closed without an answer")
    except BaseException:
        stream.socket.close()
        raise
    return stream


async def read_head(stream: trio.SocketStream) -> bytes:
    """A head with its empty line, and nothing behind it; shorter where the other side closes."""
    head = bytearray()
    while not head.endswith(b"\r\n\r\n") and (byte := await stream.receive_some(1)):
        head += byte
    return bytes(head)


class Session:
    """The messages of one client."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._numbers = Numbers()
        self._sent_at: dict[int, float] = {}
        self._ended = False
        self._heard = trio.Event()

    async def speak(self, stream: trio.SocketStream, first: float, every: float, over: trio.Event) -> None:
        """Send until `over`, or the session has ended."""
        due = first
        while not over.is_set() and not self._ended:
            await trio.sleep_until(due)
            number = self._numbers.send()
            self._tally.messages += 1
            self._sent_at[number] = due
            try:
                await stream.send_all(FROM_CLIENT + struct.pack("!Q", number) + FILLER)
            except trio.BrokenResourceError:
                self._end("reset")
            due += every

    async def listen(self, stream: trio.SocketStream) -> None:
        """Hear every message until the session ends."""
        received = bytearray()
        size = len(FROM_SERVER) + SIZE
        try:
            async for data in stream:
                received += data
                while len(received) >= size:
                    self._hear(bytes(received[:size]))
                    del received[:size]
        except trio.BrokenResourceError:
            self._end("reset")
        else:
            self._end("closed")

    async def wait_for_the_rest(self) -> None:
        """Until every message has been heard, or PATIENCE is over, or nothing can come any more."""
        with trio.move_on_after(PATIENCE):
            while self._numbers.lost and not self._ended:
                self._heard = trio.Event()
                await self._heard.wait()

    def settle(self) -> None:
        """What has not been heard by now is lost."""
        self._tally.lost += self._numbers.lost
        self._tally.disordered += self._numbers.disordered

    def _hear(self, frame: bytes) -> None:
        self._heard.set()
        if not frame.startswith(FROM_SERVER) or not frame.endswith(FILLER):
            self._numbers.disordered += 1
            self._tally.because("WebSocket: bytes that are no message that was sent")
            return
        (number,) = struct.unpack_from("!Q", frame, len(FROM_SERVER))
        if not self._numbers.hear(number):
            self._tally.because("WebSocket: a message out of its turn")
        if (sent_at := self._sent_at.pop(number, None)) is not None:
            self._tally.slowest_echo = max(self._tally.slowest_echo, trio.current_time() - sent_at)

    def _end(self, how: str) -> None:
        if not self._ended:
            self._ended = True
            self._heard.set()
            self._tally.cut += 1
            self._tally.because(f"WebSocket: the session was {how}")
