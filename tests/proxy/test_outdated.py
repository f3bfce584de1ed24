"""Connections whose listener becomes another one under them."""

import os
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import fields, replace
from pathlib import Path

import pytest
import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.listeners import HttpListener, HttpsListener, Listener, TcpListener
from sozu_trio.config.load import parse_config
from sozu_trio.config.tls_settings import TlsSettings
from sozu_trio.proxy.outdated import is_outdated, turned
from sozu_trio.testing import BackendConnection, Client, RunningProxy
from sozu_trio.testing.plugin import StartBackend, StartProxy
from tests.proxy.parts import CONFIGURATION, GET, OK, counters_of, is_reset, open_alone
from tests.proxy.secure import connect_raw, issued_now, open_client, secure_text
from tests.proxy.test_upgrade import ASK, echo
from tests.tls.peers import client_context, client_with

pytestmark = pytest.mark.virtual_time

FIRST = issued_now(common_name="first", authority=True)
SECOND = issued_now(common_name="second", authority=True)
ANNA = issued_now(common_name="anna", by=FIRST)
V1 = b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 443\r\n"
AT = Address("192.0.2.1", 443)
PLAIN, TCP, SECURE = HttpListener(address=AT), TcpListener(address=AT), HttpsListener(address=AT)


def asking(client_auth: str, *authorities: object) -> HttpsListener:
    pem = "".join(each.pem.decode() for each in authorities)  # type: ignore[attr-defined]
    return HttpsListener(address=AT, tls=TlsSettings(client_auth=client_auth, client_ca=pem))  # type: ignore[arg-type]


OPTIONAL, REQUIRED = asking("optional", FIRST), asking("required", FIRST)


@pytest.mark.parametrize(
    ("began", "now", "unknown", "known"),
    [
        (PLAIN, None, False, False),
        (PLAIN, PLAIN, False, False),
        (PLAIN, SECURE, True, True),
        (PLAIN, TCP, True, True),
        (SECURE, PLAIN, True, True),
        (PLAIN, replace(PLAIN, via="edge"), False, False),
        (SECURE, replace(SECURE, via="edge"), False, False),
        (SECURE, OPTIONAL, False, False),
        (SECURE, REQUIRED, True, False),
        (OPTIONAL, REQUIRED, True, False),
        (REQUIRED, OPTIONAL, False, False),
        (REQUIRED, SECURE, False, False),
        (REQUIRED, asking("required", SECOND, FIRST), True, False),
        (REQUIRED, asking("optional", SECOND), False, True),
    ],
)
def test_who_ends(began: Listener, now: Listener | None, unknown: bool, known: bool) -> None:
    assert is_outdated(began, now, is_known=False) == unknown
    assert is_outdated(began, now, is_known=True) == known
    assert turned({("tcp", AT): began}, {} if now is None else {("tcp", AT): now}) == [("tcp", AT)] * (unknown or known)


class House:
    """A proxy with one listener, of https, that becomes what a test wants."""

    def __init__(self, proxy: RunningProxy, keep: Callable[[Client], Client]) -> None:
        self.proxy = proxy
        self.address = proxy.addresses["https"]
        self._keep = keep
        (found,) = proxy.supervisor.state.listeners.values()
        assert isinstance(found, HttpsListener)
        self.secure = found
        ours = {each.name: getattr(found, each.name) for each in fields(HttpListener)}
        self.plain = HttpListener(**ours)

    async def become(self, listener: Listener) -> None:
        supervisor = self.proxy.supervisor
        state = replace(supervisor.state, listeners={("tcp", self.address): listener})
        await supervisor.change(state, supervisor.generation + 1)
        await trio.testing.wait_all_tasks_blocked()

    def asking(self, client_auth: str, *authorities: object) -> HttpsListener:
        tls = asking(client_auth, *authorities).tls
        return replace(self.secure, tls=tls)

    async def client(self) -> Client:
        return self._keep(await Client.open(self.address))

    async def tls_client(self, context: ssl.SSLContext | None = None) -> Client:
        return self._keep(await open_client(self.address, context=context or client_context()))


Start = Callable[..., Awaitable[House]]


@pytest.fixture
async def start(tmp_path: Path, start_proxy: StartProxy, start_backend: StartBackend) -> AsyncIterator[Start]:
    clients: list[Client] = []
    proxies: list[RunningProxy] = []

    def keep(client: Client) -> Client:
        clients.append(client)
        return client

    async def start(script: object = OK, **lines: str) -> House:
        text = secure_text(tmp_path, **lines)  # type: ignore[arg-type]
        proxies.append(await start_proxy(text, api=await start_backend(script)))
        return House(proxies[-1], keep)

    yield start
    for client in clients:
        await trio.aclose_forcefully(client.stream)
    assert not [line for proxy in proxies for line in proxy.log if "Traceback" in line]


async def test_plain_connections_end_where_the_listener_speaks_tls_now(start: Start) -> None:
    house = await start()
    await house.become(house.plain)
    client = await house.client()
    assert (await client.get()).status == 200
    await house.become(house.asking("required", FIRST))
    with trio.fail_after(0.01):
        assert await client.receive_all() == b""


async def test_a_request_under_way_is_answered_and_is_the_last(start: Start) -> None:
    go_on = trio.Event()

    async def script(connection: BackendConnection) -> None:
        await connection.read_head()
        await go_on.wait()
        await connection.send(OK)

    house = await start(script)
    await house.become(house.plain)
    client = await house.client()
    await client.send(GET + GET)
    await trio.testing.wait_all_tasks_blocked()
    await house.become(house.secure)
    go_on.set()
    response = await client.response()
    assert (response.status, response.fields[b"connection"]) == (200, b"close")
    assert await client.receive_all() == b""


async def test_a_response_that_had_begun_is_the_last(start: Start) -> None:
    go_on = trio.Event()

    async def script(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(OK[:-1])
        await go_on.wait()
        await connection.send(OK[-1:])

    house = await start(script)
    await house.become(house.plain)
    client = await house.client()
    await client.send(GET + GET)
    await client.receive_until(b"\r\n\r\no")
    await house.become(house.secure)
    go_on.set()
    assert await client.receive_all() == b"k"


async def test_half_a_request_is_under_way(start: Start) -> None:
    house = await start()
    await house.become(house.plain)
    client = await house.client()
    await client.get()
    await client.send(GET[:8])
    await trio.testing.wait_all_tasks_blocked()
    await house.become(house.secure)
    await client.send(GET[8:])
    response = await client.response()
    assert (response.status, response.fields[b"connection"]) == (200, b"close")
    assert await client.receive_all() == b""


@pytest.mark.parametrize("asked", [False, True])
async def test_a_request_that_has_come_when_an_idle_connection_is_woken_is_under_way(asked: bool) -> None:
    text = CONFIGURATION.format(top="", listener="", cluster="", hostname="*", frontend="", backends="")
    config = parse_config(text.replace("$http", str(AT)), "test", Path())
    async with open_alone(config) as alone:
        await alone.client.send(GET)
        assert (await alone.client.response()).status == 503
        await trio.testing.wait_all_tasks_blocked()
        if asked:
            os.write(alone.client.stream.socket.fileno(), GET)
        assert alone.proxy.swap(replace(alone.proxy.table, generation=2, listeners={("tcp", AT): SECURE}))
        for each in alone.drain.idle:
            alone.drain.wake(each, "the test")
        if asked:
            response = await alone.client.response()
            assert (response.status, response.fields[b"connection"]) == (503, b"close")
        assert await alone.client.receive_all() == b""


async def test_who_has_said_nothing_is_served_by_what_the_listener_is_now(start: Start) -> None:
    house = await start()
    await house.become(house.plain)
    sock, other = connect_raw(house.address), connect_raw(house.address)
    await trio.testing.wait_all_tasks_blocked()
    await house.become(house.secure)
    client = await open_client(house.address, sock=sock)
    assert (await client.get()).status == 200
    await house.become(house.plain)
    assert await client.receive_all() == b""
    await trio.aclose_forcefully(client.stream)
    plain = Client(trio.SocketStream(trio.socket.from_stdlib_socket(other)))
    assert (await plain.get()).status == 200
    await plain.close()


async def test_who_has_said_nothing_speaks_plain_text_to_a_listener_of_https(start: Start) -> None:
    house = await start()
    await house.become(house.plain)
    client = await house.client()
    await house.become(house.secure)
    await client.send(GET)
    assert await is_reset(client)
    assert any("TLS handshake" in line for line in house.proxy.log)


async def test_the_limit_of_one_who_has_said_nothing_holds_after_a_change_that_is_none(start: Start) -> None:
    house = await start()
    client = await house.client()
    await house.become(house.asking("optional", FIRST))
    await trio.sleep(9)
    await house.become(house.asking("required", FIRST))
    with trio.fail_after(1.2):
        assert await client.receive_all() == b""


async def test_a_proxy_header_that_was_read_cannot_be_read_again(start: Start) -> None:
    house = await start(listener="expect_proxy = true")
    await house.become(house.plain)
    client, silent = await house.client(), await house.client()
    await client.send(V1)
    await trio.testing.wait_all_tasks_blocked()
    await house.become(replace(house.plain, expect_proxy=False))
    await silent.send(GET)
    assert (await silent.response()).status == 200
    await house.become(house.secure)
    assert await client.receive_all() == b""


async def test_who_is_refused_stays_refused_where_the_listener_has_become_another(start: Start) -> None:
    house = await start(top="max_connections_per_source = 1", listener="expect_proxy = true")
    first, second = await house.client(), await house.client()
    for client in (first, second):
        await client.send(V1[:10])
    await trio.testing.wait_all_tasks_blocked()
    await house.become(replace(house.plain, expect_proxy=False))
    await first.send(V1[10:] + b"\x16\x03\x01")  # as a ClientHello begins
    await trio.testing.wait_all_tasks_blocked()
    await second.send(V1[10:] + GET)
    assert await is_reset(second), "it has no place, whatever its listener speaks now"
    assert (await counters_of(house.proxy))["listener.source_capped"] == 1


async def test_who_has_shown_no_certificate_where_one_is_required_now(start: Start) -> None:
    house = await start()
    client = await house.tls_client()
    assert (await client.get()).status == 200
    await house.become(house.asking("optional", FIRST))
    assert (await client.get()).status == 200
    await house.become(house.asking("required", FIRST))
    with trio.fail_after(0.01):
        assert await client.receive_all() == b""


async def test_who_is_known_stays_until_the_authority_goes(start: Start) -> None:
    house = await start()
    await house.become(house.asking("optional", FIRST))
    client = await house.tls_client(client_with(ANNA, ssl.TLSVersion.TLSv1_3))
    for next_one in (house.asking("required", FIRST), house.asking("required", FIRST, SECOND)):
        assert (await client.get()).status == 200
        await house.become(next_one)
    assert (await client.get()).status == 200
    await house.become(house.asking("required", SECOND))
    assert await client.receive_all() == b""


async def test_one_who_shakes_hands_meanwhile_is_not_served(start: Start) -> None:
    house = await start()
    sock = client_context().wrap_socket(
        connect_raw(house.address), do_handshake_on_connect=False, server_hostname="example.com"
    )
    with sock:
        with pytest.raises(ssl.SSLWantReadError):
            sock.do_handshake()
        await trio.testing.wait_all_tasks_blocked()
        await house.become(house.asking("required", FIRST))
        sock.do_handshake()
        sock.send(GET)
        await trio.testing.wait_all_tasks_blocked()
        assert not await answer_to(sock)


async def answer_to(sock: ssl.SSLSocket) -> bytes:
    while True:
        try:
            return sock.recv(100)
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(sock)
        except ConnectionResetError:
            return b""


async def test_a_websocket_goes_on(start: Start) -> None:
    house = await start(echo)
    await house.become(house.plain)
    client = await house.client()
    await client.send(ASK)
    await client.receive_until(b"\r\n\r\n")
    await house.become(house.secure)
    await client.send(b"still here")
    assert await client.receive_until(b"still here") == b"earlystill here"
