"""Lines on their way to one client: a few may wait, then whoever has another one waits, and in the end the client is
given up.
"""

import fcntl
import struct
import termios
from contextlib import suppress

import trio

from sozu_trio.config.limits import ControlLimits


class Outbox:
    """Takes lines from many tasks; one task runs `write`."""

    def __init__(self, limits: ControlLimits) -> None:
        self._unread = limits.unread
        self._put, self._take = trio.open_memory_channel[bytes](limits.replies)

    async def put(self, line: bytes) -> None:
        """Wait until there is room. A line for a client that has gone is dropped."""
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._put.send(line)

    async def offer(self, line: bytes) -> None:
        """Drop the line if there is no room for it now."""
        await trio.lowlevel.checkpoint()
        with suppress(trio.WouldBlock, trio.BrokenResourceError, trio.ClosedResourceError):
            self._put.send_nowait(line)

    def finish(self) -> None:
        """Nothing more will come: `write` returns once it has written what waits. Whoever waits for room goes on."""
        self._put.close()

    async def write(self, sock: trio.socket.SocketType) -> None:
        """Write until `finish`. Raises OSError when the client has gone, TooSlowError when it reads nothing for
        `limits.unread`.
        """
        async for line in self._take:
            rest = memoryview(line)
            while rest:
                rest = rest[await self._send(sock, rest) :]

    async def _send(self, sock: trio.socket.SocketType, rest: memoryview) -> int:
        """How many bytes of `rest` went out; 0 when the client reads, but so slowly that there is no room yet: a unix
        socket takes more only when three quarters of what waits in it have been read.
        """
        before = _unread(sock)
        with trio.move_on_after(self._unread):
            return await sock.send(rest)
        if _unread(sock) >= before:
            raise trio.TooSlowError
        return 0


def _unread(sock: trio.socket.SocketType) -> int:
    """Bytes sent that the other side has not read, with what the kernel adds (unix(7), SIOCOUTQ)."""
    count: int = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, bytes(4)))[0]
    return count
