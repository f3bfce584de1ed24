"""Backends that speak TLS, for tests: every byte within it is the test's."""

import contextlib
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.tls.fresh_context import VERSIONS, fresh_context
from tests.tls.parts import Issued, issue

DAY = 86400


class Authority:
    """Signs certificates that are valid now; files are in `folder`."""

    def __init__(self, folder: Path, name: str = "root") -> None:
        self.folder = folder
        self.root = self._issue(None, authority=True, common_name=name)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.root.pem)

    def issue(self, *names: str, begin: float = -DAY, end: float = DAY) -> Issued:
        """`begin` and `end` in seconds from now."""
        return self._issue(self.root, *names, begin=begin, end=end)

    def _issue(self, by: Issued | None, *names: str, begin: float = -DAY, end: float = DAY, **how: object) -> Issued:
        now = time.time()
        return issue(*names, by=by, begin=now + begin, end=now + end, **how)  # type: ignore[arg-type]

    def write(self, stem: str, issued: Issued) -> tuple[Path, Path]:
        """The files of its certificate and key."""
        certificate, key = self.folder / f"{stem}.pem", self.folder / f"{stem}.key"
        certificate.write_bytes(issued.chain_pem)
        key.write_bytes(issued.key_pem)
        return certificate, key

    def server(self, *names: str, begin: float = -DAY, end: float = DAY) -> ssl.SSLContext:
        """Of a backend with a certificate for these."""
        context = fresh_context(ssl.PROTOCOL_TLS_SERVER, VERSIONS)
        context.load_cert_chain(*self.write("server", self.issue(*(names or ("127.0.0.1",)), begin=begin, end=end)))
        context.set_alpn_protocols(["http/1.1"])
        return context


class SecureConnection:
    """One connection from the proxy, as its backend sees it after the handshake."""

    def __init__(self, stream: "trio.SSLStream[trio.SocketStream]") -> None:
        self.stream = stream
        self._buffer = b""

    async def read_until(self, mark: bytes) -> bytes:
        while mark not in self._buffer:
            data = await self.stream.receive_some()
            if not data:
                raise EOFError
            self._buffer += data
        end = self._buffer.index(mark) + len(mark)
        found, self._buffer = self._buffer[:end], self._buffer[end:]
        return bytes(found)

    async def read_exactly(self, count: int) -> bytes:
        pieces, left = [self._buffer[:count]], count - len(self._buffer[:count])
        self._buffer = self._buffer[count:]
        while left > 0:
            data = bytes(await self.stream.receive_some(left))
            if not data:
                raise EOFError
            pieces.append(data)
            left -= len(data)
        return b"".join(pieces)

    async def read_head(self) -> bytes:
        return await self.read_until(b"\r\n\r\n")

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)


class SecureBackend:
    """A listening server and what it has seen."""

    def __init__(self, listener: trio.SocketListener, context: ssl.SSLContext, script: object) -> None:
        self.address = Address(*listener.socket.getsockname()[:2])
        self.heads: list[bytes] = []
        self.opening = 0
        """Bytes to read before TLS."""
        self.opened: list[bytes] = []
        self.resumed: list[bool] = []
        self.server_names: list[str | None] = []
        self.alpn: list[str | None] = []
        self.failures: list[str] = []
        self.ends: list[str] = []
        """How each connection ended: `close_notify` or `cut`."""
        context.sni_callback = lambda _sock, name, _context: self.server_names.append(name)
        self._context = context
        self._listener = listener
        self._script = script

    def __str__(self) -> str:
        return str(self.address)

    async def run(self) -> None:
        await trio.serve_listeners(self._serve, [self._listener])

    async def _serve(self, plain: trio.SocketStream) -> None:
        if self.opening:
            self.opened.append(bytes(await plain.receive_some(self.opening)))
        stream = trio.SSLStream(plain, self._context, server_side=True)
        try:
            await stream.do_handshake()
            self.resumed.append(bool(stream.session_reused))
            self.alpn.append(stream.selected_alpn_protocol())
            await self._talk(SecureConnection(stream))
        except EOFError:
            self.ends.append("close_notify")
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            self.ends.append("cut")
            self.failures.append(str(error.__cause__))
            await _say_why(plain, stream)
        finally:
            await trio.aclose_forcefully(plain)

    async def _talk(self, connection: SecureConnection) -> None:
        if not isinstance(self._script, bytes):
            await self._script(connection)  # type: ignore[operator]
            return
        while True:
            self.heads.append(await connection.read_head())
            await connection.send(self._script)


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def _say_why(plain: trio.SocketStream, stream: "trio.SSLStream[trio.SocketStream]") -> None:
    """The alert, which Trio leaves unsent."""
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        await plain.send_all(stream._outgoing.read())
        await plain.send_eof()
        while await plain.receive_some():
            pass


Start = Callable[..., Awaitable[SecureBackend]]


@asynccontextmanager
async def open_secure_backends() -> AsyncIterator[Start]:
    """`await start(context, script, opening=0)`: a backend while the body runs."""
    async with trio.open_nursery() as nursery:

        async def start(context: ssl.SSLContext, script: object = OK, *, opening: int = 0) -> SecureBackend:
            (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
            backend = SecureBackend(listener, context, script)
            backend.opening = opening
            nursery.start_soon(backend.run)
            return backend

        try:
            yield start
        finally:
            nursery.cancel_scope.cancel(reason="the test is over")
