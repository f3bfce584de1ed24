"""Sessions of a tcp listener with a PROXY header: one of our own for the backend, or the one that was received."""

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.testing import BackendConnection
from sozu_trio.testing.plugin import StartBackend
from sozu_trio.wire.proxy_protocol import V2_SIGNATURE, encode_proxy_v2, parse_proxy_header
from tests.proxy.tcp_sessions import Connect, Start

pytestmark = pytest.mark.virtual_time


@pytest.mark.parametrize("said", [b"hello", b""])
async def test_send_proxy_opens_with_a_header_of_version_2(
    said: bytes, serve: Start, start_backend: StartBackend, connect: Connect
) -> None:
    received: list[bytes] = []

    async def keep(connection: BackendConnection) -> None:
        received.append(await connection.receive_all())

    proxy = await serve(await start_backend(keep), cluster="send_proxy = true")
    client = await connect(proxy)
    if said:
        await client.send(said)
    await client.send_eof()
    assert await client.receive_all() == b""
    header = parse_proxy_header(received[0])
    assert header is not None
    assert (header.source, header.destination) == (client.address, proxy.addresses["tcp"])
    assert received[0] == header.raw + said


V2_TLV = (
    encode_proxy_v2(Address("192.0.2.7", 1), Address("192.0.2.8", 2))[:14] + b"\x00\x11" + bytes(12) + b"\x04\x00\x02ab"
)


@pytest.mark.parametrize(
    "header",
    [
        V2_TLV,
        b"PROXY TCP4 192.0.2.7 192.0.2.8 1 2\r\n",
        b"PROXY UNKNOWN any thing\r\n",
        V2_SIGNATURE + b"\x20\x00\x00\x00",
    ],
)
async def test_a_header_received_is_relayed_to_the_byte(
    header: bytes, serve: Start, start_backend: StartBackend, connect: Connect
) -> None:
    received: list[bytes] = []

    async def keep(connection: BackendConnection) -> None:
        received.append(await connection.receive_all())

    proxy = await serve(await start_backend(keep), cluster="send_proxy = true", listener="expect_proxy = true")
    client = await connect(proxy)
    await client.send(header + b"hello")
    await client.send_eof()
    assert await client.receive_all() == b""
    assert received == [header + b"hello"]
