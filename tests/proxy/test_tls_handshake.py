"""Handshakes that come to nothing: each is an error that says why, and none takes for ever."""

import errno
import os
import socket
import ssl
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.tls_settings import TlsSettings
from sozu_trio.errors import HandshakeFailed
from sozu_trio.proxy.tls_stream import TlsStream
from sozu_trio.routing.resolver import NO_CERTIFICATES
from sozu_trio.tls.contexts import ServerContexts
from sozu_trio.tls.endings import Truncated
from tests.nursery.parts import tcp_pair
from tests.proxy.tls_parts import connected, server_contexts, unshaken
from tests.tls.peers import client_context

pytestmark = pytest.mark.virtual_time


@pytest.fixture(params=["TLS_V12", "TLS_V13"])
def contexts(request: pytest.FixtureRequest) -> ServerContexts:
    return server_contexts(versions=(request.param,))


async def test_severed_in_the_middle_of_a_handshake() -> None:
    client, server = unshaken()

    async def shake() -> None:
        with pytest.raises(HandshakeFailed) as caught:
            await server.handshake()
        assert caught.value.kind == "closed"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake)
        await wait_all_tasks_blocked()
        server.sever()
    client.abort()


@pytest.mark.parametrize(
    ("bytes_sent", "kind"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "not_tls"),
        (b"\x00" * 100, "not_tls"),
        (b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x03", "other"),
        (b"\x16\x03\x01", "closed"),
        (b"", "closed"),
    ],
    ids=["http", "zeros", "a broken hello", "half a hello", "nothing"],
)
async def test_handshakes_that_are_none(bytes_sent: bytes, kind: str) -> None:
    peer, ours = tcp_pair()
    ours.setblocking(False)
    server = TlsStream(server_contexts().wrap(ours), 5)
    with peer:
        peer.send(bytes_sent)
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(HandshakeFailed, match="TLS handshake: ") as caught:
            await server.handshake()
        assert caught.value.kind == kind
        server.close()


async def test_an_unknown_name() -> None:
    client, server = unshaken(ServerContexts(TlsSettings(), NO_CERTIFICATES), name="who.example")
    kinds: list[str] = []

    async def shake(stream: TlsStream, said: str) -> None:
        with pytest.raises(HandshakeFailed, match=said) as caught:
            await stream.handshake()
        kinds.append(caught.value.kind)
        stream.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake, client, "UNRECOGNIZED_NAME")
        nursery.start_soon(shake, server, r"there is no certificate for the name asked for \('who.example'\)")
    assert "unknown_name" in kinds


async def test_nothing_in_common() -> None:
    context = client_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    client, server = unshaken(server_contexts(versions=("TLS_V12",)), context=context)

    async def shake(stream: TlsStream) -> None:
        with pytest.raises(HandshakeFailed) as caught:
            await stream.handshake()
        assert caught.value.kind in ("version", "refused")
        stream.close()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake, client)
        nursery.start_soon(shake, server)


async def test_a_client_that_never_speaks_is_bounded_by_the_caller() -> None:
    client, server = unshaken()
    with trio.move_on_after(3) as scope:
        await server.handshake()
    assert scope.cancelled_caught
    server.close()
    client.abort()


async def test_out_of_descriptors_the_peer_sees_a_cut_and_no_end(
    contexts: ServerContexts, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> Any:
        raise OSError(errno.EMFILE, "Too many open files")

    async with connected(contexts) as (client, server):
        await client.send(b"hello")
        with monkeypatch.context() as patched:
            patched.setattr(os, "dup", full)
            server.shutdown()
        with pytest.raises(Truncated):
            await client.receive(100)
        assert await server.receive(100) == b"hello"
