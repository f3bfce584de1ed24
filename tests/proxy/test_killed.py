"""Sessions that an operator kills end, whatever they wait for, and nobody can take what they have for the whole."""

import json

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from sozu_trio.config.limits import LINGER
from sozu_trio.errors import ExchangeError
from sozu_trio.nursery.drain import Waiter
from sozu_trio.nursery.listener import SessionNode
from sozu_trio.proxy.ends import CUT
from sozu_trio.proxy.exchange import Exchange
from sozu_trio.testing import BackendConnection, Client, RunningProxy
from sozu_trio.testing.plugin import StartBackend
from tests.proxy.https_house import House
from tests.proxy.parts import GET, OK, Net, access_log, is_reset, request
from tests.proxy.removing import SWITCH, UPGRADE
from tests.proxy.tcp_sessions import Connect, Start, line_of, stay

pytestmark = pytest.mark.usefixtures("leaving")

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\nhalf"


async def backend(connection: BackendConnection) -> None:
    """Does as the path says."""
    while head := await connection.read_head():
        path = head.split(b" ")[1]
        if path in (b"/never", b"/body"):
            await trio.sleep_forever()
        await connection.send({b"/half": HALF, b"/chat": SWITCH}.get(path, OK))


async def sessions_of(proxy: RunningProxy) -> list[str]:
    """Their names; there is one worker."""
    (sessions,) = (await proxy.supervisor.look("sessions")).values()
    return [session["id"] for session in sessions]


async def kill(proxy: RunningProxy) -> None:
    """The only session there is."""
    (name,) = await sessions_of(proxy)
    assert await proxy.supervisor.kill_session(name)


async def ends(client: Client) -> bool:
    """Whether the connection is reset; that it ends is said by a test that does not hang."""
    with trio.fail_after(1):
        return await is_reset(client)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        pytest.param([], [], id="nothing yet"),
        pytest.param([b"GET / HT"], [], id="a part of a head"),
        pytest.param([GET], [(200, "complete")], id="idle"),
        pytest.param([GET, b"GET / HT"], [(200, "complete")], id="a part of the second head"),
        pytest.param([request("GET /never")], [(None, CUT)], id="waits for the backend"),
        pytest.param([request("POST /body", "Content-Length: 9"), b"x"], [(None, CUT)], id="in its body"),
        pytest.param([request("GET /half")], [(200, CUT)], id="in a response"),
        pytest.param([UPGRADE.replace(b"GET / ", b"GET /chat ")], [(101, CUT)], id="in a tunnel"),
    ],
)
async def test_one_of_http_ends_at_once(
    said: list[bytes], told: list[tuple[int | None, str]], net: Net, clock: MockClock
) -> None:
    proxy = await net.proxy(await net.backend(backend), top='access_logs_format = "json"')
    client = await net.client(proxy)
    for part in said:
        await client.send(part)
        await trio.sleep(0.1)
    await kill(proxy)
    is_cut = any(status and message == CUT for status, message in told)
    assert await ends(client) == is_cut
    lines = [json.loads(line) for line in await access_log(proxy, len(told))]
    assert [(line["status"], line["message"]) for line in lines] == told
    assert not await sessions_of(proxy)


@pytest.mark.parametrize("said", [b"", b"PROXY TCP4 1"])
async def test_one_of_http_that_owes_its_proxy_header_ends_at_once(said: bytes, net: Net, clock: MockClock) -> None:
    proxy = await net.proxy(await net.backend(stay), listener="expect_proxy = true")
    await one_that_owes_its_proxy_header_ends_at_once(proxy, await net.client(proxy), said)


@pytest.mark.parametrize("said", [b"", b"PROXY TCP4 1"])
async def test_one_of_tcp_that_owes_its_proxy_header_ends_at_once(
    said: bytes, serve: Start, connect: Connect, start_backend: StartBackend, clock: MockClock
) -> None:
    proxy = await serve(await start_backend(stay), listener="expect_proxy = true")
    await one_that_owes_its_proxy_header_ends_at_once(proxy, await connect(proxy), said)


async def one_that_owes_its_proxy_header_ends_at_once(proxy: RunningProxy, client: Client, said: bytes) -> None:
    if said:
        await client.send(said)
    await trio.sleep(0.1)
    await kill(proxy)
    assert not await ends(client)


async def test_one_of_tcp_ends_by_reset(
    serve: Start, connect: Connect, start_backend: StartBackend, clock: MockClock
) -> None:
    proxy = await serve(await start_backend(stay))
    client = await connect(proxy)
    await trio.sleep(0.1)
    await kill(proxy)
    assert await ends(client)
    assert (await line_of(proxy))["message"] == CUT


@pytest.mark.parametrize("said", [b"", b"\x16\x03\x01"])
async def test_one_in_its_handshake_ends_at_once(said: bytes, house: House) -> None:
    await house.start()
    client = await house.proxy.connect("https")
    house.clients.append(client)
    if said:
        await client.send(said)
    await trio.sleep(0.05)
    await kill(house.proxy)
    assert not await ends(client)


async def test_one_within_tls_ends_in_the_middle_of_a_response(house: House) -> None:
    await house.start(backend)
    client = await house.client()
    await client.send(request("GET /half"))
    await client.receive_until(b"half")
    await kill(house.proxy)
    with trio.fail_after(1), pytest.raises(trio.BrokenResourceError):
        await client.receive_all()


async def test_one_that_has_not_begun_to_wait_ends_when_it_does(
    net: Net, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait_in = SessionNode.wait_in

    def kill_before(self: SessionNode, waits: Waiter) -> None:
        if self.waits is None:
            self.kill()
        wait_in(self, waits)

    proxy = await net.proxy(await net.backend(OK))
    monkeypatch.setattr(SessionNode, "wait_in", kill_before)
    assert not await ends(await net.client(proxy))


async def test_one_that_tells_its_client_why_it_ends_ends_sooner(net: Net, clock: MockClock) -> None:
    """Its first patience is over, and the next one is that of its farewell."""
    proxy = await net.proxy(await net.backend(OK), listener="request_timeout = 1")
    client = await net.client(proxy)
    await client.send(b"GET / HT")
    assert (await client.receive_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 408")
    began = trio.current_time()
    await kill(proxy)
    await wait_all_tasks_blocked()
    assert not await sessions_of(proxy)
    assert trio.current_time() - began < LINGER


async def test_one_that_went_on_after_a_deadline_ends_at_once(net: Net, clock: MockClock) -> None:
    proxy = await net.proxy(await net.backend(backend), listener="back_timeout = 1")
    client = await net.client(proxy)
    await client.send(request("GET /never"))
    assert (await client.receive_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 504")
    await trio.sleep(0.1)
    await kill(proxy)
    await ends(client)
    assert not await sessions_of(proxy)


async def test_one_whose_answer_takes_its_time_is_said_to_be_cut(
    net: Net, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never_answer(_: Exchange, error: ExchangeError) -> None:
        await trio.sleep_forever()

    monkeypatch.setattr(Exchange, "fail", never_answer)
    proxy = await net.proxy(await net.backend(backend), top='access_logs_format = "json"', listener="back_timeout = 1")
    client = await net.client(proxy)
    await client.send(request("GET /never"))
    await trio.sleep(1.5)
    await kill(proxy)
    assert not await ends(client)
    assert [json.loads(line)["message"] for line in await access_log(proxy, 1)] == [CUT]
