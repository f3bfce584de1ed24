"""A client of an https listener, from its first byte to its last."""

import contextlib
import dataclasses
import json
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import trio

from sozu_trio.config.limits import HANDSHAKE, UNSENT
from sozu_trio.config.listeners import HttpsListener
from sozu_trio.config.tls_settings import TlsSettings
from sozu_trio.errors import HandshakeFailed
from sozu_trio.proxy.close_notify import make_close_notify
from sozu_trio.testing import BackendConnection, Client, RunningProxy
from sozu_trio.testing.plugin import StartBackend, StartProxy
from sozu_trio.wire.proxy_protocol import V2_SIGNATURE
from tests.proxy.parts import GET, OK, access_log, request, values
from tests.proxy.secure import NAME, connect_raw, open_client, secure_text, tls_of, vanish
from tests.proxy.test_upgrade import ASK, echo
from tests.tls.peers import client_context

pytestmark = pytest.mark.virtual_time

V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"
BIG = bytes(range(256)) * 8192
"""2 MiB"""

Start = Callable[..., Awaitable[RunningProxy]]


class House:
    """A proxy with an https listener, and clients that are let go of when the test is over."""

    def __init__(self, folder: Path, start_proxy: StartProxy, start_backend: StartBackend) -> None:
        self.clients: list[Client] = []
        self._folder = folder
        self._start_proxy = start_proxy
        self._start_backend = start_backend

    async def start(self, script: object = OK, **text: object) -> None:
        self.backend = await self._start_backend(script)
        self.proxy = await self._start_proxy(secure_text(self._folder, **text), api=self.backend)  # type: ignore[arg-type]
        self.address = self.proxy.addresses["https"]

    async def client(self, *arguments: object, **how: object) -> Client:
        self.clients.append(await open_client(self.address, *arguments, **how))  # type: ignore[arg-type]
        return self.clients[-1]

    @property
    def sessions(self) -> list[str]:
        """Lines about sessions that went wrong."""
        return [line for line in self.proxy.log if "session" in line and "closed" in line]


@pytest.fixture
async def house(tmp_path: Path, start_proxy: StartProxy, start_backend: StartBackend) -> AsyncIterator[House]:
    house = House(tmp_path, start_proxy, start_backend)
    yield house
    for client in house.clients:
        await trio.aclose_forcefully(client.stream)
    assert not [line for line in house.proxy.log if "Traceback" in line]


async def test_the_backend_is_told_that_it_came_over_tls(house: House) -> None:
    await house.start()
    client = await house.client()
    assert (tls_of(client).facts().version, tls_of(client).facts().alpn) == ("TLSv1.3", None)
    for _ in range(3):
        assert (await client.get()).body == b"ok"
    head = house.backend.heads[-1]
    assert values(head, b"x-forwarded-proto") == [b"https"]
    assert values(head, b"x-forwarded-port") == [b"%d" % house.address.port]
    assert values(head, b"forwarded")[0].startswith(b"proto=https;for=")


async def test_what_is_spoken_within_is_agreed_on(house: House) -> None:
    await house.start()
    context = client_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    assert tls_of(await house.client(context=context)).facts().alpn == "http/1.1"


async def test_a_proxy_header_comes_before_tls(house: House) -> None:
    await house.start(listener="expect_proxy = true")
    client = await house.client(begin=V1)
    assert (await client.get()).body == b"ok"
    assert values(house.backend.heads[0], b"x-forwarded-for") == [b"192.0.2.7"]
    assert values(house.backend.heads[0], b"x-forwarded-port") == [b"443"]
    with pytest.raises(HandshakeFailed):
        await house.client()
    assert any("no PROXY protocol header" in line for line in house.sessions)


@pytest.mark.parametrize("header", [V1, V2_SIGNATURE + b"\x20\x00\x00\x00"], ids=["v1", "local"])
async def test_who_closes_after_the_proxy_header_leaves_no_line(house: House, header: bytes) -> None:
    await house.start(listener="expect_proxy = true")
    with connect_raw(house.address) as sock:
        sock.send(header)
        await trio.sleep(1)
    await trio.sleep(1)
    assert house.sessions == []


async def test_who_says_nothing_after_the_proxy_header_was_too_slow(house: House) -> None:
    await house.start(listener="expect_proxy = true\nrequest_timeout = 5")
    with connect_raw(house.address) as sock:
        sock.send(V1)
        await trio.sleep(6)
        assert sock.recv(1) == b""
    assert any("it took too long" in line for line in house.sessions)


@pytest.mark.parametrize("begin", [b"", V1[:9]], ids=["silent", "in the middle"])
async def test_a_proxy_header_that_never_comes_ends_it(house: House, begin: bytes) -> None:
    await house.start(listener="expect_proxy = true\nrequest_timeout = 5")
    with connect_raw(house.address) as sock:
        sock.send(begin)
        await trio.sleep(4)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        await trio.sleep(2)
        assert sock.recv(1) == b""


@pytest.mark.parametrize(
    ("host", "strict", "status"),
    [
        ("example.com", True, 200),
        ("Example.com:8443", True, 200),
        ("also.example", True, 200),
        ("other.example", True, 421),
        ("other.example", False, 200),
        ("[::1]", True, 421),
    ],
)
async def test_a_host_the_certificate_is_not_for_is_misdirected(
    house: House, host: str, strict: bool, status: int
) -> None:
    await house.start(names=(NAME, "also.example"), listener=f"strict_sni_binding = {str(strict).lower()}")
    client = await house.client()
    for _ in range(2):
        assert (await client.get(host=host)).status == status
        assert (await client.get()).status == 200
    assert len(house.backend.heads) == (4 if status == 200 else 2)


async def test_under_the_default_certificate_it_is_the_name_asked_for(house: House) -> None:
    await house.start()
    client = await house.client("unknown.example")
    assert (await client.get(host="unknown.example")).status == 200
    assert (await client.get(host="another.example")).status == 421
    nameless = await house.client(None)
    assert (await nameless.get(host="unknown.example")).status == 421
    assert (await nameless.get()).status == 200
    await nameless.send(b"GET / HTTP/1.0\r\n\r\n")
    assert (await nameless.response()).status == 421


HSTS = "[listeners.hsts]\nenabled = true\nmax_age = 7"


@pytest.mark.parametrize("host", [NAME, "other.example"], ids=["404", "421"])
async def test_our_own_answers_carry_hsts(house: House, host: str) -> None:
    await house.start(listener=HSTS, frontend=', path = "/there"')
    client = await house.client()
    for _ in range(2):
        assert (await client.get(host=host)).fields[b"strict-transport-security"] == b"max-age=7"
    await client.send(request("TRACE /", "Max-Forwards: 0"))
    assert (await client.response("TRACE")).fields[b"strict-transport-security"] == b"max-age=7"
    await client.send(request("OPTIONS *", "Max-Forwards: 0"))
    assert (await client.response("OPTIONS")).fields[b"strict-transport-security"] == b"max-age=7"
    await client.send(b"nonsense\r\n\r\n")
    response = await client.response()
    assert (response.status, response.fields[b"strict-transport-security"]) == (400, b"max-age=7")


async def test_what_was_agreed_on_is_in_the_access_log_and_counted(house: House) -> None:
    await house.start(top='access_logs_format = "json"')
    context = client_context()
    context.set_alpn_protocols(["http/1.1"])
    client = await house.client("unknown.example", context=context)
    await client.get(host="unknown.example")
    await client.send(b"nonsense\r\n\r\n")
    await client.response()
    for line in await access_log(house.proxy, 2):
        shown = json.loads(line)
        assert (shown["protocol"], shown["tls_version"], shown["tls_alpn"]) == ("HTTPS", "TLSv1.3", "http/1.1")
        assert (shown["tls_sni"], shown["tls_resumed"]) == ("unknown.example", False)
        assert shown["tls_cipher"].startswith("TLS_")


async def test_what_is_no_tls_is_closed_and_told_of(house: House) -> None:
    await house.start()
    with connect_raw(house.address) as sock:
        sock.send(GET)
        await trio.sleep(1)
        with contextlib.suppress(ConnectionResetError):  # Not all of what was sent has been read.
            assert b"HTTP" not in sock.recv(100)
    assert any("what came is not TLS" in line for line in house.sessions)


@pytest.mark.parametrize("begin", [b"", b"\x16\x03\x01\x02\x00\x01"], ids=["silent", "in mid-handshake"])
async def test_who_never_finishes_the_handshake_delays_nobody_and_is_gone_in_time(house: House, begin: bytes) -> None:
    await house.start(listener="request_timeout = 10")
    socks = [connect_raw(house.address) for _ in range(50)]
    for sock in socks:
        sock.send(begin)
    before = trio.current_time()
    assert (await (await house.client()).get()).status == 200
    assert trio.current_time() - before < 1
    await trio.sleep(11)
    for sock in socks:
        assert sock.recv(1) == b""
        sock.close()
    assert len([line for line in house.sessions if "it took too long" in line]) == (50 if begin else 0)


@pytest.mark.parametrize(
    ("timeouts", "begin", "longest"),
    [
        ("request_timeout = 0\nfront_timeout = 20", b"", 20),
        ("request_timeout = 0\nfront_timeout = 20", b"\x16", 20),
        ("request_timeout = 30\nfront_timeout = 20", b"\x16", 20),
        ("request_timeout = 0\nfront_timeout = 0", b"\x16", HANDSHAKE),
        ("request_timeout = 600\nfront_timeout = 0", b"\x16", HANDSHAKE),
    ],
)
async def test_nobody_takes_for_ever(house: House, timeouts: str, begin: bytes, longest: float) -> None:
    await house.start(listener=timeouts)
    with connect_raw(house.address) as sock:
        sock.send(begin)
        await trio.sleep(longest - 1)
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        await trio.sleep(2)
        assert sock.recv(1) == b""


async def test_who_closes_without_a_word_leaves_no_line(house: House) -> None:
    await house.start()
    connect_raw(house.address).close()
    await trio.sleep(1)
    assert house.sessions == []


@pytest.mark.parametrize("begin", [b"", b"\x16\x03\x01"], ids=["silent", "in mid-handshake"])
async def test_a_drain_does_not_wait_for_who_never_finishes(house: House, begin: bytes) -> None:
    await house.start(listener="request_timeout = 10")
    with connect_raw(house.address) as sock:
        sock.send(begin)
        await trio.sleep(2)
        before = trio.current_time()
        await house.proxy.supervisor.stop(60)
        await house.proxy.supervisor.stopped.wait()
        assert trio.current_time() - before <= (8.2 if begin else 1)
        assert sock.recv(1) == b""


async def test_a_drain_ends_idle_ones_with_a_close_notify(house: House) -> None:
    await house.start()
    client = await house.client()
    await client.get()
    await trio.sleep(5)
    before = trio.current_time()
    await house.proxy.supervisor.stop(60)
    assert await client.receive_all() == b""  # Without one it would be an error.
    assert trio.current_time() - before < 1


async def test_a_close_notify_that_nobody_reads_costs_nothing_of_the_response(house: House) -> None:
    body = BIG[:UNSENT]  # the kernels take it at once
    await house.start(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    client = await house.client()
    await client.send(request("GET /", "Connection: close"))
    tls = tls_of(client)._tls
    socket.socket.send(tls, make_close_notify(tls))
    await trio.sleep(60)
    assert (await client.receive_all()).endswith(body)
    assert not house.sessions


async def test_who_is_told_of_the_end_and_just_goes_leaves_no_line(house: House) -> None:
    await house.start()
    client = await house.client()
    await client.send(request("GET /", "Connection: close"))
    assert (await client.receive_all()).endswith(b"ok")
    vanish(client)
    await trio.sleep(60)
    assert not house.sessions


async def test_the_end_asked_for_is_a_close_notify(house: House) -> None:
    await house.start()
    client = await house.client()
    assert (await client.get(Connection="close")).fields[b"connection"] == b"close"
    assert await client.receive_all() == b""


@pytest.mark.parametrize("fields", [("Content-Length: 100000",), ("Transfer-Encoding: chunked",)])
async def test_a_body_that_ends_without_close_notify_is_not_whole(house: House, fields: tuple[str, ...]) -> None:
    ends: list[bytes] = []

    async def script(connection: BackendConnection) -> None:
        await connection.read_head()
        try:
            ends.append(await connection.receive_all())
        except trio.BrokenResourceError:
            ends.append(b"reset")
            raise

    await house.start(script)
    client = await house.client()
    await client.send(request("POST /", *fields) + b"3e8\r\n" + bytes(1000))
    await trio.sleep(1)
    vanish(client)
    await trio.sleep(1)
    assert len(ends) == 1
    assert not ends[0].endswith(b"0\r\n\r\n")
    assert len(ends[0]) < 100_000
    (line,) = await access_log(house.proxy, 1)
    assert " ERROR-ACCESS " in line


@pytest.mark.parametrize("chunked", [False, True])
async def test_long_bodies_both_ways(house: House, chunked: bool) -> None:
    async def script(connection: BackendConnection) -> None:
        head = await connection.read_head()
        assert (b"chunked" in head) == chunked
        if chunked:
            body = (await connection.receive_until(b"\r\n0\r\n\r\n")).replace(b"\r\n0\r\n\r\n", b"")
            assert len(body) >= len(BIG)
            await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BIG))
            await connection.send(BIG + b"\r\n0\r\n\r\n")
        else:
            assert await connection.receive_exactly(len(BIG)) == BIG
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BIG) + BIG)

    await house.start(script)
    client = await house.client()
    if chunked:
        await client.send(
            request("PUT /", "Transfer-Encoding: chunked") + b"%x\r\n" % len(BIG) + BIG + b"\r\n0\r\n\r\n"
        )
    else:
        await client.send(request("PUT /", f"Content-Length: {len(BIG)}") + BIG)
    assert (await client.response("PUT")).body == BIG


async def test_a_response_cut_short_is_not_ended_by_a_close_notify(house: House) -> None:
    async def script(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(1000))

    await house.start(script)
    client = await house.client()
    await client.send(GET)
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_all()


async def test_a_tunnel_with_half_close_both_ways(house: House) -> None:
    await house.start(echo)
    client = await house.client()
    await client.send(ASK)
    assert (await client.receive_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    assert await client.receive_exactly(5) == b"early"
    for _ in range(3):
        await client.send(b"ping")
        assert await client.receive_exactly(4) == b"ping"
        await trio.sleep(20)
    await client.send(b"last")
    await client.send_eof()
    assert await client.receive_all() == b"lastgoodbye"


async def test_a_tunnel_whose_client_vanishes_is_broken_for_the_backend(house: House) -> None:
    ends: list[bool] = []

    async def script(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        try:
            await connection.receive_all()
            ends.append(True)
        except trio.BrokenResourceError:
            ends.append(False)

    await house.start(script)
    client = await house.client()
    await client.send(ASK)
    await client.receive_until(b"\r\n\r\n")
    vanish(client)
    await trio.sleep(1)
    assert ends == [False]
    (line,) = await access_log(house.proxy, 1)
    assert "the client broke the connection" in line
    assert " WSS " in line


async def test_one_more_than_the_limit_gets_no_plain_answer(house: House) -> None:
    await house.start(top="max_connections = 1")
    await house.client()
    with connect_raw(house.address) as sock:
        await trio.sleep(1)
        assert sock.recv(100) == b""


async def test_versions_are_the_listener_s(house: House) -> None:
    await house.start(listener='tls_versions = ["TLS_V13"]')
    context = client_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(HandshakeFailed):
        await house.client(context=context)
    assert any("no version of TLS in common" in line for line in house.sessions)
    assert (await (await house.client()).get()).status == 200


async def test_what_changes_before_the_first_word_holds_for_it(house: House) -> None:
    await house.start()
    sock = connect_raw(house.address)
    await trio.sleep(1)
    state = house.proxy.supervisor.state
    ((key, listener),) = state.listeners.items()
    assert isinstance(listener, HttpsListener)
    only = dataclasses.replace(listener, tls=TlsSettings(versions=("TLS_V12",)))
    await house.proxy.supervisor.change(dataclasses.replace(state, listeners={key: only}), 2)
    house.clients.append(await open_client(house.address, sock=sock))
    assert tls_of(house.clients[0]).facts().version == "TLSv1.2"
