"""Pairs of ends of a TLS connection, and a Trio stream over ours, for Trio's own checks."""

import contextlib
import functools
import select
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from sozu_trio.config.tls_settings import TlsSettings
from sozu_trio.proxy.tls_stream import TlsStream
from sozu_trio.routing.resolver import NO_CERTIFICATES
from sozu_trio.tls.contexts import ServerContexts
from tests.nursery.parts import tcp_pair
from tests.tls.parts import Issued, issue
from tests.tls.peers import client_context


@functools.cache
def issued() -> Issued:
    return issue("a.example", "127.0.0.1")


def server_contexts(**settings: Any) -> ServerContexts:
    """A listener with one certificate, for every name."""
    return ServerContexts(TlsSettings(**settings), NO_CERTIFICATES.with_default(issued().read()))


def unshaken(
    contexts: ServerContexts | None = None,
    *,
    context: ssl.SSLContext | None = None,
    name: str | None = "a.example",
    pair: tuple[socket.socket, socket.socket] | None = None,
) -> tuple[TlsStream, TlsStream]:
    """Client and server before the handshake."""
    theirs, ours = pair or tcp_pair()
    theirs.setblocking(False)
    ours.setblocking(False)
    client = (context or client_context()).wrap_socket(
        theirs, do_handshake_on_connect=False, server_hostname=name, suppress_ragged_eofs=False
    )
    server = (contexts or server_contexts()).wrap(ours)
    return TlsStream(client, 5), TlsStream(server, 5)


@asynccontextmanager
async def connected(contexts: ServerContexts | None = None, **how: Any) -> AsyncIterator[tuple[TlsStream, TlsStream]]:
    """Client and server after the handshake; closed at the end."""
    client, server = unshaken(contexts, **how)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(client.handshake)
            nursery.start_soon(server.handshake)
        yield client, server
    finally:
        client.abort()
        server.abort()


class TrioStream(trio.abc.HalfCloseableStream):
    """Our stream in the words of Trio: its errors, its rule that all yield, and its complaint when two do one thing."""

    def __init__(self, stream: TlsStream) -> None:
        self.stream = stream
        self._closed = False
        self._ended = False
        self._sends = trio._util.ConflictDetector("another task sends")
        self._receives = trio._util.ConflictDetector("another task receives")

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        with self._sends:
            if self._ended:
                raise trio.ClosedResourceError
            await self._do(self.stream.send, bytes(data))

    async def wait_send_all_might_not_block(self) -> None:
        with self._sends:
            await self._do(self.stream.wait_writable)

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        if max_bytes is not None and max_bytes < 1:
            raise ValueError("max_bytes must be at least 1")
        with self._receives:
            received: bytes = await self._do(self.stream.receive, max_bytes or 65536)
            return received

    async def send_eof(self) -> None:
        with self._sends:
            await self._do(self._end)

    async def _end(self) -> None:
        self._ended = True
        self.stream.shutdown()

    async def aclose(self) -> None:
        if not self._closed:
            self._closed = True
            if not self.stream.is_closed:
                trio.lowlevel.notify_closing(self.stream.sock)
            self.stream.close()
        await trio.lowlevel.checkpoint()

    async def _do(self, action: Any, *arguments: Any) -> Any:
        await trio.lowlevel.checkpoint()
        if self._closed:
            raise trio.ClosedResourceError
        try:
            result = await action(*arguments)
        except OSError as error:
            if self._closed:
                raise trio.ClosedResourceError from error
            raise trio.BrokenResourceError from error
        if self._closed:
            raise trio.ClosedResourceError
        return result


async def trio_pair(**how: Any) -> tuple[TrioStream, TrioStream]:
    """Two connected streams, as Trio's checks want them made."""
    client, server = unshaken(**how)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(client.handshake)
        nursery.start_soon(server.handshake)
    return TrioStream(client), TrioStream(server)


async def clogged_pair() -> tuple[TrioStream, TrioStream]:
    """A server and its client, with the way from the first to the second full.

    OpenSSL has the last piece already, and takes none that is shorter: so it is a single byte. The kernel says that it
    is full some time before it is. With smaller buffers than it makes it would be quicker, but an acknowledgement that
    comes late makes room in them again.
    """
    client, server = await trio_pair()
    poll = select.poll()
    poll.register(server.stream.sock, select.POLLOUT)
    with contextlib.suppress(ssl.SSLWantWriteError):
        while poll.poll(0):
            server.stream._tls.send(bytes(16000))
        while True:
            server.stream._tls.send(b"x")
    return server, client


async def receive_all(stream: TlsStream, into: bytearray) -> None:
    while data := await stream.receive(65536):
        into += data
