"""A PROXY header is taken to the byte, however it is cut; what follows is left where it lies."""

import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.errors import ProxyHeaderError
from sozu_trio.proxy.proxy_header import take_proxy_header
from sozu_trio.proxy.stream import Stream
from sozu_trio.proxy.tls_stream import TlsStream
from sozu_trio.wire.proxy_protocol import ProxyHeader, encode_proxy_v2
from tests.nursery.parts import tcp_pair
from tests.proxy.parts import Pair
from tests.proxy.tls_parts import server_contexts
from tests.tls.peers import client_context

pytestmark = pytest.mark.virtual_time

CLIENT, TARGET = Address("192.0.2.1", 1234), Address("192.0.2.2", 443)
HEADERS = {"v1": b"PROXY TCP4 192.0.2.1 192.0.2.2 1234 443\r\n", "v2": encode_proxy_v2(CLIENT, TARGET)}


@pytest.fixture(params=HEADERS)
def header(request: pytest.FixtureRequest) -> bytes:
    return HEADERS[request.param]


async def test_what_follows_at_once_is_left(pair: Pair, header: bytes) -> None:
    peer, stream = pair
    peer.send(header + b"\x16\x03\x01hello")
    taken = await take_proxy_header(stream)
    assert taken is not None
    assert (taken.source, taken.destination, taken.raw) == (CLIENT, TARGET, header)
    assert stream.sock.recv(100) == b"\x16\x03\x01hello"
    assert stream.bytes_in == len(header)


async def test_cut_anywhere(header: bytes) -> None:
    for at in range(1, len(header)):
        peer, ours = tcp_pair()
        ours.setblocking(False)
        with peer, ours:
            got: list[ProxyHeader | None] = []

            async def take(stream: Stream, got: list[ProxyHeader | None] = got) -> None:
                got.append(await take_proxy_header(stream))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(take, Stream(ours, 5))
                peer.send(header[:at])
                await wait_all_tasks_blocked()  # It waits, and does not look at the same bytes for ever.
                peer.send(header[at:] + b"rest")
            assert got[0] is not None
            assert got[0].raw == header
            assert ours.recv(100) == b"rest"


async def test_a_peer_without_a_word(pair: Pair) -> None:
    peer, stream = pair
    peer.shutdown(socket.SHUT_WR)
    assert await take_proxy_header(stream) is None


async def test_half_a_header(pair: Pair) -> None:
    peer, stream = pair
    peer.send(b"PROXY TC")
    peer.shutdown(socket.SHUT_WR)
    with pytest.raises(ProxyHeaderError, match="in the middle of its PROXY header"):
        await take_proxy_header(stream)


async def test_none_at_all(pair: Pair) -> None:
    peer, stream = pair
    peer.send(b"\x16\x03\x01")
    with pytest.raises(ProxyHeaderError, match="no PROXY protocol header"):
        await take_proxy_header(stream)


async def test_tls_after_a_header(header: bytes) -> None:
    """The ClientHello comes in the same segment."""
    theirs, ours = tcp_pair()
    for sock in (theirs, ours):
        sock.setblocking(False)
    theirs.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    theirs.send(header)
    wrapped = client_context().wrap_socket(
        theirs, do_handshake_on_connect=False, server_hostname="a.example", suppress_ragged_eofs=False
    )
    client = TlsStream(wrapped, 5)

    async def shake() -> None:
        async with trio.open_nursery() as within:
            within.start_soon(client.handshake)
            await wait_all_tasks_blocked()
            wrapped.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shake)
        assert await take_proxy_header(Stream(ours, 5)) is not None
        server = TlsStream(server_contexts().wrap(ours), 5)
        await server.handshake()
    await client.send(b"hello")
    assert await server.receive(100) == b"hello"
    client.abort()
    server.abort()
