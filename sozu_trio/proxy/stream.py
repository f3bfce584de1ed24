"""A connected socket as this proxy uses it: read, write, and how long to wait for the other side.

On purpose a read or write that succeeds at once is no checkpoint: a trip through the scheduler costs as much as the
work it would guard. Instead every stream counts its immediate successes and yields after a few, so that others run and
deadlines hold. This is the one file that breaks Trio's rule "async always yields"; `relay.py` keeps the same count for
what it moves.

A deadline is set only where a wait begins; who is waited for, and how long, is kept by a `Patience`.
"""

import errno
import select
import socket
import struct
from collections.abc import Callable, Sequence
from typing import Final, NoReturn

import trio
from trio.lowlevel import checkpoint, notify_closing, wait_readable, wait_task_rescheduled, wait_writable

from sozu_trio.config.limits import GATHER_FROM, IMMEDIATE_OPERATIONS, MOST_GATHERED
from sozu_trio.nursery import readiness
from sozu_trio.nursery.readiness import Foresee, Readable
from sozu_trio.proxy.ends import CUT
from sozu_trio.proxy.patience import Patience

RESET_ON_CLOSE = struct.pack("ii", 1, 0)
UNCONNECTED = frozenset({errno.ENOTCONN, errno.EBADF})

Piece = bytes | memoryview


class _Severed(socket.socket):
    """Stands in for the socket of a stream that was severed: who uses it meets a reset.

    A closed socket would not do: its descriptor is -1, and to wait for that is an error of ours.
    """

    def __init__(self) -> None:
        """It has no descriptor."""

    def fileno(self) -> NoReturn:
        raise _reset()

    def recv(self, size: int, flags: int = 0, /) -> NoReturn:
        raise _reset()

    def pending(self) -> int:
        """As that of a socket with TLS."""
        return 0

    def send(self, data: object, flags: int = 0, /) -> NoReturn:
        raise _reset()

    def sendmsg(self, *pieces: object) -> NoReturn:
        raise _reset()

    def shutdown(self, how: int, /) -> None:
        """There is nobody to tell."""

    def close(self) -> None:
        """It was."""


def _reset() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, CUT)


SEVERED: Final = _Severed()


class Stream:
    """A connected, non-blocking socket. One task reads it and one writes it."""

    __slots__ = ("_immediate", "_is_due", "_late", "_poll", "_readable", "bytes_in", "bytes_out", "sock", "timeout")

    splices = True
    """What goes over its socket is what was said: the kernel may move it."""

    def __init__(self, sock: socket.socket, timeout: float) -> None:
        self.sock = sock
        self.timeout = timeout
        """Seconds a wait for this peer may take; 0 = for ever."""
        self.bytes_in = 0
        self.bytes_out = 0
        self._immediate = 0
        self._is_due = False
        """A message of ours waits for the end of this pass."""
        self._late = b""
        """What the kernel had no room for then, until `settle` has sent it."""
        self._poll: select.poll | None = None
        self._readable = Readable(sock)

    async def receive(self, size: int, patience: Patience | None = None) -> bytes:
        """Up to `size` bytes, b"" at the end. Raises OSError when the connection is broken."""
        while True:
            try:
                data = self.sock.recv(size)
            except BlockingIOError:
                await self.wait_readable(patience)
                continue
            self.bytes_in += len(data)
            self._immediate += 1
            if self._immediate >= IMMEDIATE_OPERATIONS:
                await self.rest()
            return data

    async def receive_later(self, size: int, patience: Patience | None = None, foresee: Foresee | None = None) -> bytes:
        """As `receive`, where nothing can have come yet: wait first, and spare the read that would fail. `foresee` may
        have seen it by then.
        """
        if self._late:
            await self.settle(patience)
        if patience is not None:
            patience.expect(self)
        try:
            data: bytes | None = await wait_task_rescheduled(self._readable.expect(size, foresee))
        except trio.ClosedResourceError:
            data = None  # It was severed: whatever is done with it now says so.
        except OSError:
            if patience is not None:
                patience.relax()
            raise
        if patience is not None:
            patience.relax()
        self._immediate = 0
        if data is None:
            await self.settle(patience)
            return await self.receive(size, patience)
        self.bytes_in += len(data)
        return data

    async def send(self, data: Piece, patience: Patience | None = None) -> None:
        """All of `data`. Raises OSError when the connection is broken; `bytes_out` then says what the kernel had
        taken.
        """
        sent = 0
        while True:
            try:
                done = self.sock.send(memoryview(data)[sent:] if sent else data)
            except BlockingIOError:
                await self.wait_writable(patience)
                continue
            self.bytes_out += done
            sent += done
            if sent == len(data):
                self._immediate += 1
                if self._immediate >= IMMEDIATE_OPERATIONS:
                    await self.rest()
                return

    def send_soon(self, data: bytes) -> int:
        """Send `data`, of up to SMALL_MESSAGE bytes, now or at the end of this pass of the loop, together with what
        others send (`nursery/volley.py`). Returns how much of it has left or will; the rest must be sent at once. Then
        `receive_later` must come next, or the end. Raises OSError where the connection is known to be broken.

        What waits counts as sent, in `bytes_out` too. Should the peer turn out to have gone, reading tells; should the
        kernel have no room, which takes a peer that does not read what came before, `owes` does.
        """
        volley = self._readable.volley
        if volley is not None and volley.gathers:
            self.bytes_out += len(data)
            self._is_due = True
            volley.add(self, data)
            return len(data)
        sent = self._put(data)
        self.bytes_out += sent
        return sent

    def send_late(self, data: bytes) -> None:
        """The volley is fired."""
        self._is_due = False
        try:
            sent = self._put(data)
        except OSError as error:
            if self.is_closed or isinstance(error, ConnectionError):
                self.bytes_out -= len(data)
                return
            sent = 0
        if sent < len(data):
            self._late = data[sent:]
            self._readable.end_with_room()

    @property
    def owes(self) -> bool:
        """Whether some of what counts as sent is still to be sent, by `settle`."""
        return bool(self._late)

    def _put(self, data: bytes) -> int:
        """How much of `data` the kernel has taken. Raises OSError."""
        try:
            return self.sock.send(data)
        except BlockingIOError:
            return 0

    async def settle(self, patience: Patience | None = None) -> None:
        """Send what it owes; one that was cancelled is to be gone on with. That the peer has gone is for reading to
        tell.
        """
        while self._late:
            try:
                sent = self._put(self._late)
            except ConnectionError:
                self.bytes_out -= len(self._late)
                self._late = b""
                return
            if sent:
                self._late = self._late[sent:]
            else:
                await self.wait_writable(patience)

    def _fire(self) -> None:
        """Send now what was to be sent soon: nothing else may come before it."""
        if self._is_due and self._readable.volley is not None:
            self._readable.volley.fire()

    def arranged(self, pieces: Sequence[Piece]) -> Sequence[Piece]:
        """`pieces` for `send_pieces`: where they are, or put together where that is cheaper. Within TLS it always is,
        for each by itself would be a record.
        """
        if not self.splices or len(pieces) > MOST_GATHERED or sum(map(len, pieces)) < len(pieces) * GATHER_FROM:
            return (b"".join(pieces),)
        return pieces

    async def send_pieces(self, pieces: Sequence[Piece], patience: Patience | None = None) -> bool:
        """As `send`, of all that `arranged` has made. Whether the kernel is known to have taken it at once."""
        left, at_once = pieces, True
        while True:
            try:
                done = self.sock.send(left[0]) if len(left) == 1 else self.sock.sendmsg(left)
            except BlockingIOError:
                at_once = False
                await self.wait_writable(patience)
                continue
            self.bytes_out += done
            left = _beyond(left, done)
            if not left:
                await self.count()
                return at_once
            at_once = False

    def receive_now(self, size: int) -> bytes:
        """As `receive`, uncounted; raises BlockingIOError where it would wait."""
        return self.sock.recv(size)

    def send_now(self, data: memoryview) -> int:
        """How much of `data` was sent, uncounted; raises BlockingIOError where that is nothing. What is sent next must
        begin with what was not.
        """
        return self.sock.send(data)

    async def wait_readable(self, patience: Patience | None = None) -> None:
        """Until `receive` is worth a try. In the middle of something: for who waits long and often, `receive_later`."""
        self._immediate = 0
        if patience is not None:
            patience.expect(self)
        try:  # noqa: SIM105 - once per request: a context manager costs more
            await wait_readable(self.sock)
        except trio.ClosedResourceError:
            pass  # It was severed: whatever is done with it now says so.
        if patience is not None:
            patience.relax()

    async def wait_writable(self, patience: Patience | None = None) -> None:
        self._immediate = 0
        if patience is not None:
            patience.expect(self)
        try:  # noqa: SIM105 - once per request: a context manager costs more
            await wait_writable(self.sock)
        except trio.ClosedResourceError:
            pass  # It was severed: whatever is done with it now says so.
        if patience is not None:
            patience.relax()

    async def count(self) -> None:
        """One more operation that did not wait, done by somebody else: yield now and then."""
        self._immediate += 1
        if self._immediate >= IMMEDIATE_OPERATIONS:
            await self.rest()

    async def rest(self) -> None:
        """Let others run."""
        self._immediate = 0
        await checkpoint()

    def watch(self, on_hangup: Callable[[], None]) -> None:
        """Have `on_hangup` called, once and in no task, when the peer has gone and nobody waits to read."""
        self._readable.watch(on_hangup)

    def stop_watching(self) -> None:
        self._readable.on_hangup = None

    def is_quiet(self) -> bool:
        """Whether the peer has neither sent anything nor closed: what an idle connection must be to be used again."""
        if self._poll is None:
            # A third of the cost of a recv with MSG_PEEK, whose answer is an exception.
            self._poll = select.poll()
            self._poll.register(self.sock, select.POLLIN)
        return not self._poll.poll(0)

    def shutdown(self) -> None:
        """Send FIN; the peer may still be read from."""
        self._fire()
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno not in UNCONNECTED:
                raise

    @property
    def is_closed(self) -> bool:
        return self.sock is SEVERED or self.sock.fileno() < 0

    def close(self) -> None:
        self._fire()
        self._readable.forget()
        self.sock.close()

    def leave(self) -> None:
        """Let go of a connection that lives on in another process: its socket is there, too.

        Trio may still have it registered, and closing would not end that: whoever got its number next would be woken
        for what happens to it (measured: reference/feasibility.md, d).
        """
        self._fire()
        readiness.notify_closing(self.sock)  # By its number: another Stream may have waited for it before.
        notify_closing(self.sock)
        self.sock.close()

    def abort(self) -> None:
        """Close with RST, so that the peer cannot take what it has for the whole."""
        if not self.is_closed:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)
        self._readable.forget()
        self.sock.close()

    def sever(self) -> None:
        """As `abort`, while others use it: whoever waits for it or turns to it gets OSError, as if it had been reset.

        That is never an end of input, which could pass for the end of a message.
        """
        if self.is_closed:
            return
        notify_closing(self.sock)
        self.abort()
        self.sock = SEVERED
        self._readable = Readable(SEVERED)


def _beyond(pieces: Sequence[Piece], sent: int) -> Sequence[Piece]:
    """What is left of `pieces` after `sent` bytes."""
    for at, piece in enumerate(pieces):
        if sent < len(piece):
            return [memoryview(piece)[sent:], *pieces[at + 1 :]]
        sent -= len(piece)
    return []
