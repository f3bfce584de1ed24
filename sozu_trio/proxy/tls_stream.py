"""A Stream that speaks TLS: the same face, by a non-blocking `ssl.SSLSocket`.

What OpenSSL asks of whoever uses it so, and where it is seen to:

* A descriptor that is not readable may have data all the same: `pending()`, of a record that was read in part, which
  only a read can have done that got all it had room for.
* One that is readable may have none: tickets, key updates, half a record. So who reads must be ready to wait again.
* A write that would block must be repeated with the same bytes. One that was cut short can never be mended: whatever
  was written next, OpenSSL would send the old piece and count it as the new one. So nothing is sent any more.
* The end of what the peer says is its close_notify. A FIN alone may be somebody's cut, and is an error: `Truncated`.
* After both have ended, an SSLSocket reads and writes plain text. It is not touched again.

Bytes read before TLS began cannot be given to it: a PROXY header is taken by `proxy_header.take_proxy_header`, to the
byte.
"""

import contextlib
import errno
import socket
import ssl
from collections.abc import Sequence
from typing import Final, cast

import trio
from trio.lowlevel import wait_task_rescheduled

from sozu_trio.config.limits import IMMEDIATE_OPERATIONS, READ_SIZE
from sozu_trio.errors import HandshakeFailed
from sozu_trio.nursery.readiness import Foresee
from sozu_trio.proxy.close_notify import make_close_notify
from sozu_trio.proxy.patience import Patience
from sozu_trio.proxy.stream import SEVERED, UNCONNECTED, Piece, Stream
from sozu_trio.telemetry.access_log import TlsFacts
from sozu_trio.tls.client_contexts import Session, session_of
from sozu_trio.tls.client_failures import backend_failure, client_kind_of
from sozu_trio.tls.contexts import ServerSocket
from sozu_trio.tls.endings import CertificateWanted, Truncated
from sozu_trio.tls.failures import CLOSED, handshake_failed, kind_of, reason_of

LARGEST_RECORD: Final = 16384
"""Bytes that one read gives at most (RFC 8446 §5.1), whatever room is made for them."""


class TlsStream(Stream):
    """TLS on a connected, non-blocking socket, after `handshake`. One task reads it and one writes it."""

    __slots__ = ("_cut", "_ended", "_failure", "_is_filled", "_kept", "_notified", "_tls", "_unsent")

    splices = False

    def __init__(self, sock: ssl.SSLSocket, timeout: float) -> None:
        """`sock` was wrapped with `suppress_ragged_eofs=False`."""
        super().__init__(sock, timeout)
        self._tls = sock
        self._kept = b""
        """Read, and not yet asked for."""
        self._is_filled = True
        """The last read got all it had room for, so that OpenSSL may have more of the same record."""
        self._ended = False
        """The peer has said that it says no more."""
        self._failure: OSError | None = None
        """What reading met, and is to be raised to who reads."""
        self._cut = False
        """A send is under way, or was cut short."""
        self._notified = False
        """We have said that we say no more."""
        self._unsent = b""
        """Of our close_notify, while the kernel has no room for it."""

    async def handshake(self, patience: Patience | None = None) -> None:
        """Agree with the peer. Raises HandshakeFailed; how long it may take is the caller's to say."""
        while True:
            try:
                if self.is_closed:
                    raise ConnectionResetError(errno.ECONNRESET, "closed by us")
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await super().wait_readable(patience)
            except ssl.SSLWantWriteError:
                await self.wait_writable(patience)
            except OSError as error:
                raise self._failed(error) from error
            else:
                return

    def _failed(self, error: OSError) -> HandshakeFailed:
        server = self._tls
        if not isinstance(server, ServerSocket):
            return backend_failure(error)
        return handshake_failed(error, name=server.server_name, unknown=server.unknown)

    @property
    def session(self) -> Session | None:
        """What another connection may resume: of the ticket that came last; None for none, and after the end."""
        return None if self.is_closed else session_of(self._tls)

    @property
    def lacks_certificate(self) -> bool:
        """Whether it has ended as CertificateWanted says."""
        return isinstance(self._failure, CertificateWanted)

    def facts(self) -> TlsFacts:
        """After the handshake, and before the end."""
        cipher = self._tls.cipher()
        return TlsFacts(
            version=self._tls.version() or "",
            cipher=cipher[0] if cipher else "",
            server_name=self._tls.server_name if isinstance(self._tls, ServerSocket) else self._tls.server_hostname,
            alpn=self._tls.selected_alpn_protocol(),
            resumed=bool(self._tls.session_reused),
        )

    async def receive(self, size: int, patience: Patience | None = None) -> bytes:
        """Up to `size` bytes, b"" when the peer has ended what it says. Raises OSError when the connection is broken,
        and Truncated when it ends without a word.
        """
        while True:
            try:
                data = self._read(size)
            except ssl.SSLWantReadError:
                await self._wait_to_read(patience)
                continue
            try:
                await self.count()
            except trio.Cancelled:
                self._kept = data + self._kept
                raise
            self.bytes_in += len(data)
            return data

    async def receive_later(self, size: int, patience: Patience | None = None, foresee: Foresee | None = None) -> bytes:
        """As that of Stream; `foresee` gets what one record had."""
        if self._unsent or self._late or self._has_something():
            self._fire()
            await self.settle(patience)
            return await self.receive(size, patience)
        # Once per request: what `wait_readable` and `receive` would do, in one.
        if patience is not None:
            patience.expect(self)
        room = min(size, LARGEST_RECORD)
        try:
            data: bytes | None = await wait_task_rescheduled(self._readable.expect(room, foresee))
        except (trio.ClosedResourceError, ssl.SSLWantReadError):
            data = None  # It was severed, and whatever is done with it now says so; or no record is whole yet.
        except OSError as error:
            if patience is not None:
                patience.relax()
            if not isinstance(error, ssl.SSLError):
                raise
            data = self._end_for(error)
        if patience is not None:
            patience.relax()
        self._immediate = 0
        if data is None:
            await self.settle(patience)
            return await self.receive(size, patience)
        self._note(data, room)
        self.bytes_in += len(data)
        return data

    async def send(self, data: Piece, patience: Patience | None = None) -> None:
        """All of `data`. Raises OSError when the connection is broken, or was by a send that did not end."""
        if self._cut or self._notified:
            raise _ended()
        self._cut = True
        sent = 0
        while sent < len(data):
            try:
                done = self._tls.send(memoryview(data)[sent:] if sent else data)
            except ssl.SSLWantWriteError:
                await self.wait_writable(patience)
                continue
            except ssl.SSLError as error:
                raise self._broken(error) from error
            self.bytes_out += done
            sent += done
            self._immediate += 1
            if self._immediate >= IMMEDIATE_OPERATIONS and sent < len(data):
                await self.rest()
        self._cut = False
        if self._immediate >= IMMEDIATE_OPERATIONS:
            await self.rest()

    def _put(self, data: bytes) -> int:
        """All of `data`, as far as it fits into one record, or nothing: then it must be put again."""
        if (self._cut and data is not self._late) or self._notified:
            raise _ended()
        self._cut = True
        try:
            sent = self._tls.send(data)
        except ssl.SSLWantWriteError:
            return 0
        except ssl.SSLError as error:
            raise self._broken(error) from error
        self._cut = False
        return sent

    def send_soon(self, data: bytes) -> int:
        if self._cut or self._notified:
            raise _ended()
        sent = super().send_soon(data)
        if sent < len(data):
            self._cut = False  # It is sent once more, at once.
        return sent

    async def send_pieces(self, pieces: Sequence[Piece], patience: Patience | None = None) -> bool:
        """As `send`; how soon it was taken is not known."""
        await self.send(b"".join(pieces), patience)
        return False

    def receive_now(self, size: int) -> bytes:
        try:
            return self._read(size)
        except ssl.SSLWantReadError:
            raise BlockingIOError from None

    def send_now(self, data: memoryview) -> int:
        if self._notified:
            raise _ended()
        self._cut = True
        sent, size = 0, len(data)
        try:
            # Each call sends one record of 16 KiB; to turn to every one of them costs a relay 4 % more.
            while sent < size:
                sent += self._tls.send(data[sent:] if sent else data)
        except ssl.SSLWantWriteError:
            if not sent:
                raise BlockingIOError from None
            return sent
        except ssl.SSLError as error:
            raise self._broken(error) from error
        self._cut = False
        return sent

    async def wait_readable(self, patience: Patience | None = None) -> None:
        """Until `receive` is worth a try; it may have to wait again."""
        if self._has_something():
            await self.count()
        else:
            await self._wait_to_read(patience)

    def is_quiet(self) -> bool:
        """Whether the peer has neither sent anything nor closed; tickets and key updates count as nothing."""
        if self.is_closed or self._has_something():
            return False
        if super().is_quiet():
            return True
        try:
            self._kept = self._read(READ_SIZE)
        except ssl.SSLWantReadError:
            return True
        except OSError as error:
            self._failure = error
        return False

    def shutdown(self) -> None:
        """Send close_notify, then FIN; the peer may still be read from. After a send that was cut short the FIN is
        alone, and tells the peer that something is missing.
        """
        if self._notified or self.is_closed:
            return
        self._fire()
        self._notified = True
        if not self._cut:
            self._keep_pending()
            self._unsent += make_close_notify(self._tls)
        self._push()

    async def finish(self) -> None:
        """As `shutdown`, and wait until the kernel has taken it. How long that may take is the caller's to say."""
        self.shutdown()
        while self._unsent and not self.is_closed:
            await self.wait_writable()
            self._push()

    @property
    def is_finished(self) -> bool:
        """Whether `finish` has nothing left to do."""
        return self.is_closed or (self._notified and not self._unsent)

    def close(self) -> None:
        """Where there was no `shutdown`, tell the peer, as far as that goes at once."""
        self._fire()
        if self._unsent:
            self._push()
        if not (self._notified or self._cut or self.is_closed):
            self._notified = True
            with contextlib.suppress(OSError, ValueError):
                self._tls.unwrap()  # Its answer is not waited for, nor what else the peer might say.
        self._failure = None  # Its frames refer to this stream.
        super().close()

    def abort(self) -> None:
        """Close with RST and without close_notify, so that the peer cannot take what it has for the whole."""
        self._notified = True
        self._failure = None
        super().abort()

    def sever(self) -> None:
        """As `abort`, while others use it: whoever waits for it or turns to it gets OSError."""
        super().sever()
        if self.sock is SEVERED:
            self._kept, self._unsent, self._failure = b"", b"", None
            self._ended = False
            self._tls = cast(ssl.SSLSocket, SEVERED)

    def _has_something(self) -> bool:
        """Whether a read would neither wait nor fail for want of data."""
        if self._kept or self._ended or self._failure is not None:
            return True
        return self._is_filled and self._tls.pending() > 0

    def _read(self, size: int) -> bytes:
        """Up to `size` bytes, b"" at the end. Raises SSLWantReadError, or OSError."""
        if self._kept:
            data, self._kept = self._kept[:size], self._kept[size:]
            return data
        if self._failure is not None:
            raise self._failure
        if self._ended:
            return b""
        room = min(size, LARGEST_RECORD)
        try:
            data = self._tls.recv(room)
        except ssl.SSLWantReadError:
            raise
        except ssl.SSLError as error:
            data = self._end_for(error)
        self._note(data, room)
        return data

    def _note(self, data: bytes, room: int) -> None:
        """A read that had `room` has given `data`."""
        self._ended = not data
        self._is_filled = len(data) == room

    def _end_for(self, error: ssl.SSLError) -> bytes:
        """What reading comes to that met `error`: b"", or an OSError that is raised, now and to all who read later."""
        if isinstance(error, ssl.SSLZeroReturnError):
            return b""
        if kind_of(error) == CLOSED:
            raise self._fail(Truncated(errno.ECONNRESET, "the connection ended without close_notify")) from error
        raise self._fail(self._broken(error)) from error

    def _fail(self, failure: OSError) -> OSError:
        """OpenSSL would say something else the next time."""
        self._failure = failure
        return failure

    def _keep_pending(self) -> None:
        """Take what OpenSSL has read already, at most one record: close_notify must not meet it."""
        try:
            while self._tls.pending():
                self._kept += self._tls.recv(READ_SIZE)
        except OSError as error:
            self._failure = error

    def _push(self) -> None:
        """What is left of close_notify, and FIN after it; the socket's own calls, past OpenSSL."""
        try:
            while self._unsent:
                self._unsent = self._unsent[socket.socket.send(self._tls, self._unsent) :]
            socket.socket.shutdown(self._tls, socket.SHUT_WR)
        except BlockingIOError:
            pass
        except OSError as error:
            self._unsent = b""
            # Others would be lost: the kernel tells them once. They are for who reads, not for who says goodbye.
            if error.errno not in UNCONNECTED and not isinstance(error, ConnectionError) and not self._ended:
                self._failure = self._failure or error

    def _broken(self, error: ssl.SSLError) -> ConnectionResetError:
        """Its number is one of OpenSSL's, and would be taken for one of errno."""
        if not isinstance(self._tls, ServerSocket) and client_kind_of(error) == "client_certificate":
            return CertificateWanted(errno.ECONNRESET, str(backend_failure(error)))
        return ConnectionResetError(errno.ECONNRESET, f"TLS: {reason_of(error)}")

    async def _wait_to_read(self, patience: Patience | None) -> None:
        if self._unsent:
            self._push()  # Here too: where there is always something to read the wait below never gets to it.
        if not self._unsent:
            await super().wait_readable(patience)
            return
        # The peer is full of what we said, and may not read before we have read what it says.
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._push_when_possible, nursery.cancel_scope)
            await super().wait_readable(patience)
            nursery.cancel_scope.cancel(reason="readable")
        if patience is not None:
            patience.relax()  # The wait for it may have been cut short, by ourselves.

    async def _push_when_possible(self, scope: trio.CancelScope) -> None:
        await self.wait_writable()
        self._push()
        scope.cancel(reason="pushed")


def _ended() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, "nothing more can be sent")
