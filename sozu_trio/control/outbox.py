"""Lines on their way to one client: a few may wait, then whoever has another one waits, and in the end the client is
given up. What waits is counted in lines and in bytes, since one reply may be as large as the State.
"""

import fcntl
import struct
import termios
from collections import deque

import trio

from sozu_trio.config.limits import ControlLimits


class Outbox:
    """Takes lines from many tasks; one task runs `write`."""

    def __init__(self, limits: ControlLimits) -> None:
        self._limits = limits
        self._lines: deque[bytes] = deque()
        self._bytes = 0
        """Of the lines that wait, and of the one that is being written."""
        self._finished = False
        self._turn = trio.Lock()
        """Whoever waits for room, waits in a queue."""
        self._room = trio.lowlevel.ParkingLot()
        self._work = trio.lowlevel.ParkingLot()

    async def room(self) -> None:
        """Wait until a line would be taken, or is not wanted any more."""
        async with self._turn:
            while self._full():
                await self._room.park()

    async def put(self, line: bytes) -> None:
        """Wait until there is room. A line for a client that has gone is dropped."""
        async with self._turn:
            while self._full():
                await self._room.park()
            self._add(line)

    async def offer(self, line: bytes) -> None:
        """Drop the line if there is no room for it now."""
        await trio.lowlevel.checkpoint()
        if not self._full():
            self._add(line)

    async def written(self) -> None:
        """Wait until nothing waits to be written."""
        async with self._turn:
            while self._bytes and not self._finished:
                await self._room.park()

    def finish(self) -> None:
        """Nothing more will come: `write` returns once it has written what waits. Whoever waits for room goes on."""
        self._finished = True
        self._work.unpark_all()
        self._room.unpark_all()

    async def write(self, sock: trio.socket.SocketType) -> None:
        """Write until `finish`. Raises OSError when the client has gone, TooSlowError when it reads nothing for
        `limits.unread`.
        """
        while (line := await self._take()) is not None:
            rest = memoryview(line)
            while rest:
                rest = rest[await self._send(sock, rest) :]
            self._bytes -= len(line)
            self._room.unpark_all()

    def _full(self) -> bool:
        if self._finished:
            return False
        return len(self._lines) >= self._limits.replies or self._bytes >= self._limits.reply_bytes

    def _add(self, line: bytes) -> None:
        if not self._finished:
            self._lines.append(line)
            self._bytes += len(line)
            self._work.unpark_all()

    async def _take(self) -> bytes | None:
        while not self._lines:
            if self._finished:
                return None
            await self._work.park()
        self._room.unpark_all()
        return self._lines.popleft()

    async def _send(self, sock: trio.socket.SocketType, rest: memoryview) -> int:
        """How many bytes of `rest` went out; 0 when the client reads, but so slowly that there is no room yet: a unix
        socket takes more only when three quarters of what waits in it have been read.
        """
        before = _unread(sock)
        with trio.move_on_after(self._limits.unread):
            return await sock.send(rest)
        if _unread(sock) >= before:
            raise trio.TooSlowError
        return 0


def _unread(sock: trio.socket.SocketType) -> int:
    """Bytes sent that the other side has not read, with what the kernel adds (unix(7), SIOCOUTQ)."""
    count: int = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
    return count
