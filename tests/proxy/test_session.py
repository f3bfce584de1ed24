"""A client connection from its first byte: the PROXY header, in one piece or many, or something that is none."""

import contextlib

import pytest
import trio

from sozu_trio.config.addresses import Address
from sozu_trio.routing.table import Table
from sozu_trio.testing import BackendConnection, Client, RunningProxy, ScriptedBackend
from sozu_trio.testing.plugin import StartBackend, StartProxy
from sozu_trio.wire.proxy_protocol import V2_SIGNATURE, encode_proxy_v2
from tests.proxy.parts import access_log, values

pytestmark = pytest.mark.virtual_time

HTTP = """
[[listeners]]
protocol = "http"
address = "$http"
expect_proxy = true
request_timeout = 10
[clusters.api]
protocol = "http"
frontends = [{ address = "$http", hostname = "example.com" }]
backends = [{ address = "$api" }]
"""
TCP = """
[[listeners]]
protocol = "tcp"
address = "$tcp"
expect_proxy = true
[clusters.echo]
protocol = "tcp"
frontends = [{ address = "$tcp" }]
backends = [{ address = "$echo" }]
"""
GET = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"
SOURCE, DESTINATION = Address("192.0.2.7", 4711), Address("198.51.100.1", 443)
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"
V2 = encode_proxy_v2(SOURCE, DESTINATION)
V2_TLV = V2[:14] + (len(V2) - 16 + 5).to_bytes(2, "big") + V2[16:] + b"\x04\x00\x02ab"
SIX = encode_proxy_v2(Address("2001:db8::7", 1), Address("2001:db8::1", 2))
LOCAL = V2_SIGNATURE + b"\x20\x00\x00\x00"
UNSPEC = V2_SIGNATURE + b"\x21\x00\x00\x00"
UNKNOWN = b"PROXY UNKNOWN\r\n"

PORT = "4711"


async def echo(connection: BackendConnection) -> None:
    while data := await connection.stream.receive_some():
        await connection.send(data)


@pytest.fixture
async def http(start_proxy: StartProxy, start_backend: StartBackend) -> tuple[RunningProxy, ScriptedBackend]:
    backend = await start_backend()
    return await start_proxy(HTTP, api=backend), backend


Http = tuple[RunningProxy, ScriptedBackend]


async def forwarded_for(client: Client, backend: ScriptedBackend) -> bytes:
    assert (await client.response()).body == b"ok"
    (value,) = values(backend.heads[-1], b"x-forwarded-for")
    await client.close()
    return value


@pytest.mark.parametrize(
    ("header", "expected"),
    [(V1, b"192.0.2.7"), (V2, b"192.0.2.7"), (V2_TLV, b"192.0.2.7"), (SIX, b"2001:db8::7")],
    ids=["v1", "v2", "v2 with TLVs", "v2 IPv6"],
)
async def test_the_backend_is_told_who_the_header_names(header: bytes, expected: bytes, http: Http) -> None:
    proxy, backend = http
    client = await proxy.connect()
    await client.send(header + GET)
    assert await forwarded_for(client, backend) == expected
    (line,) = await access_log(proxy, 1)
    assert f" {SOURCE} " in line or " [2001:db8::7]:1 " in line


@pytest.mark.parametrize("header", [LOCAL, UNSPEC, UNKNOWN], ids=["LOCAL", "UNSPEC", "UNKNOWN"])
async def test_who_is_not_named_is_whoever_connected(header: bytes, http: Http) -> None:
    proxy, backend = http
    client = await proxy.connect()
    address = client.address
    await client.send(header + GET)
    assert await forwarded_for(client, backend) == b"127.0.0.1"
    (line,) = await access_log(proxy, 1)
    assert f" {address} " in line


@pytest.mark.parametrize("header", [V1, V2_TLV, LOCAL, UNKNOWN], ids=["v1", "v2 with TLVs", "LOCAL", "UNKNOWN"])
async def test_cut_at_every_byte_it_is_the_same(header: bytes, http: Http) -> None:
    proxy, backend = http
    whole = header + GET
    for cut in range(1, len(whole)):
        client = await proxy.connect()
        await client.send(whole[:cut])
        await trio.sleep(0.1)
        await client.send(whole[cut:])
        await forwarded_for(client, backend)
    assert len(backend.heads) == len(whole) - 1


async def test_the_header_counts_for_every_request_of_the_connection(http: Http) -> None:
    proxy, backend = http
    client = await proxy.connect()
    await client.send(V2 + GET + GET)
    assert [(await client.response()).status for _ in range(2)] == [200, 200]
    assert [values(head, b"x-forwarded-for") for head in backend.heads] == [[b"192.0.2.7"]] * 2
    await client.close()


@pytest.mark.parametrize(
    "wrong",
    [GET, b"\x16\x03\x01", b"PROXY TCP4 nonsense\r\n", V2_SIGNATURE + b"\x99", b"PROXY " + b"x" * 200, V1[:-1] + b"x"],
)
async def test_what_is_no_header_closes_and_reaches_nobody(wrong: bytes, http: Http) -> None:
    proxy, backend = http
    client = await proxy.connect()
    await client.send(wrong)
    with contextlib.suppress(trio.BrokenResourceError):  # Where not all of what was sent had been read.
        assert await client.receive_all() == b""
    assert backend.connections == 0
    (line,) = [line for line in proxy.log if "PROXY" in line]
    assert "closed: " in line
    assert " INFO " in line
    assert "Traceback" not in "".join(proxy.log)
    await client.close()


async def test_who_closes_without_a_word_leaves_no_line(http: Http) -> None:
    proxy, _ = http
    before = len(proxy.log)
    client = await proxy.connect()
    await client.close()
    await trio.sleep(1)
    assert proxy.log[before:] == []
    assert proxy.access_log == []


async def test_an_end_in_the_middle_is_told(http: Http) -> None:
    proxy, _ = http
    client = await proxy.connect()
    await client.send(V1[:20])
    await client.send_eof()
    assert await client.receive_all() == b""
    assert "closed in the middle of its PROXY header" in proxy.log[-1]
    await client.close()


@pytest.mark.parametrize("begun", [b"", V1[:20]], ids=["nothing", "a part"])
async def test_it_may_take_as_long_as_a_request_head(begun: bytes, http: Http) -> None:
    proxy, _ = http
    client = await proxy.connect()
    if begun:
        await client.send(begun)
    started = trio.current_time()
    assert await client.receive_all() == b""
    assert trio.current_time() - started == pytest.approx(10, abs=0.2)
    assert ("took too long" in proxy.log[-1]) is bool(begun)
    await client.close()


async def test_who_has_said_nothing_leaves_when_the_proxy_stops(http: Http) -> None:
    proxy, _ = http
    client = await proxy.connect()
    await trio.sleep(1)
    started = trio.current_time()
    await proxy.supervisor.stop(None)
    assert await client.receive_all() == b""
    await proxy.supervisor.stopped.wait()
    assert trio.current_time() - started < 0.2
    await client.close()


async def test_header_on_its_way_when_the_proxy_stops(http: Http) -> None:
    proxy, _ = http
    client = await proxy.connect()
    await trio.sleep(0.1)
    await proxy.supervisor.stop(None)
    await trio.sleep(0.1)
    await client.send(V1 + GET)
    response = await client.response()
    assert (response.status, response.fields[b"connection"]) == (200, b"close")
    await client.close()
    await proxy.supervisor.stopped.wait()


async def test_a_listener_the_table_does_not_know_serves_nobody(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, backend = http
    with monkeypatch.context() as patched:
        patched.setattr(Table, "listeners", {})
        client = await proxy.connect()
        assert await client.receive_all() == b""
    assert backend.connections == 0
    await client.close()


@pytest.mark.parametrize("header", [V1, V2, LOCAL, UNKNOWN], ids=["v1", "v2", "LOCAL", "UNKNOWN"])
async def test_tcp_the_header_is_taken_off(header: bytes, start_proxy: StartProxy, start_backend: StartBackend) -> None:
    proxy = await start_proxy(TCP, echo=await start_backend(echo))
    for whole in (header + b"hello", header):
        client = await proxy.connect("tcp")
        await client.send(whole)
        if whole == header:
            await trio.sleep(1)
            await client.send(b"hello")
        assert await client.receive_exactly(5) == b"hello"
        await client.send_eof()
        assert await client.receive_all() == b""
        await client.close()
    line = (await access_log(proxy, 2))[0]
    assert (f" {SOURCE} " in line) is (header in (V1, V2))


async def test_tcp_what_is_no_header_reaches_nobody(start_proxy: StartProxy, start_backend: StartBackend) -> None:
    backend = await start_backend(echo)
    proxy = await start_proxy(TCP, echo=backend)
    client = await proxy.connect("tcp")
    await client.send(b"SSH-2.0-client\r\n")
    assert await client.receive_all() == b""
    assert backend.connections == 0
    await client.close()
