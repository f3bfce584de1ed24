"""What a removed backend still serves is cut at once, and nobody can take what it has for the whole."""

import json
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from sozu_trio.config.addresses import Address
from sozu_trio.proxy import connect as connect_module
from sozu_trio.proxy.connect import open_connection
from sozu_trio.proxy.pipes import Pipe, PipeStock
from sozu_trio.testing import BackendConnection, Client, RunningProxy
from tests.proxy.parts import GET, OK, Net, access_log, is_reset, request
from tests.proxy.removing import SWITCH, UPGRADE, remove

pytestmark = pytest.mark.usefixtures("leaving")

TCP = """
access_logs_format = "json"
[[listeners]]
protocol = "tcp"
address = "$tcp"
front_timeout = 0
back_timeout = 0
[clusters.api]
protocol = "tcp"
frontends = [{ address = "$tcp" }]
backends = [{ address = "$b0", backend_id = "b0" }]
"""
HALF = b"HTTP/1.1 200 OK\r\n%b\r\n%b"
FRAMINGS = {
    "length": HALF % (b"Content-Length: 8\r\n", b"half"),
    "chunked": HALF % (b"Transfer-Encoding: chunked\r\n", b"4\r\nhalf\r\n"),
    "close": HALF % (b"", b"half"),
}
POST = request("POST /", "Content-Length: 9")


class Endings:
    """How connections of a backend have ended: b"reset", or what it had not read when the proxy sent FIN."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    async def take(self, connection: BackendConnection) -> None:
        try:
            self.seen.append(await connection.receive_all())
        except trio.BrokenResourceError:
            self.seen.append(b"reset")

    def after(self, *parts: bytes) -> Callable[[BackendConnection], Awaitable[None]]:
        """A backend that reads a head, sends `parts` and waits for the end."""

        async def script(connection: BackendConnection) -> None:
            await connection.read_head()
            for part in parts:
                await connection.send(part)
            await self.take(connection)

        return script


@pytest.fixture
def endings() -> Endings:
    return Endings()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("framing", list(FRAMINGS))
async def test_a_response_that_has_begun_ends_by_reset(
    framing: str, version: str, net: Net, clock: MockClock, endings: Endings
) -> None:
    proxy = await net.proxy(await net.backend(endings.after(FRAMINGS[framing])))
    client = await net.client(proxy)
    await client.send(request(version=version))
    await client.receive_until(b"half")
    await remove(proxy)
    assert endings.seen == [b"reset"]
    assert await is_reset(client)
    assert trio.current_time() < 1
    assert "the response was cut short" in (await access_log(proxy, 1))[0]


async def test_a_response_whose_head_has_begun_is_502(net: Net, clock: MockClock, endings: Endings) -> None:
    proxy = await net.proxy(await net.backend(endings.after(b"HTTP/1.1 200 OK\r\nServer")))
    client = await net.client(proxy)
    await client.send(GET)
    await trio.sleep(1)
    await remove(proxy)
    assert (await client.response()).status == 502
    assert endings.seen == [b"reset"]


async def test_a_request_without_response_goes_to_another_backend(net: Net, clock: MockClock, endings: Endings) -> None:
    other = await net.backend()
    proxy = await net.proxy(await net.backend(endings.after()), other, backend=["", ", backup = true"])
    client = await net.client(proxy)
    await client.send(GET)
    await trio.sleep(1)
    await remove(proxy)
    assert (await client.response()).body == b"ok"
    assert (endings.seen, len(other.heads)) == ([b"reset"], 1)


async def test_one_that_may_not_be_replayed_is_502(net: Net, clock: MockClock, endings: Endings) -> None:
    other = await net.backend()
    proxy = await net.proxy(await net.backend(endings.after()), other, backend=["", ", backup = true"])
    client = await net.client(proxy)
    await client.send(request("POST /", "Content-Length: 0"))
    await trio.sleep(1)
    await remove(proxy)
    assert (await client.response("POST")).status == 502
    assert other.heads == []


async def test_no_attempt_is_made_at_it_again(net: Net, clock: MockClock, endings: Endings) -> None:
    backend = await net.backend(endings.after())
    proxy = await net.proxy(backend)
    client = await net.client(proxy)
    await client.send(GET)
    await trio.sleep(1)
    await remove(proxy)
    assert (await client.response()).status == 502, "and not its other attempt"
    assert (await client.get()).status == 503
    assert backend.connections == 1


async def test_an_upload_ends_with_502(net: Net, clock: MockClock, endings: Endings) -> None:
    proxy = await net.proxy(await net.backend(endings.after()))
    client = await net.client(proxy)
    await client.send(POST + b"half")
    await trio.sleep(1)
    await remove(proxy)
    assert (await client.response("POST")).status == 502
    assert trio.current_time() < 2
    assert endings.seen == [b"reset"]


@pytest.mark.parametrize("framing", list(FRAMINGS))
async def test_a_response_that_has_begun_before_its_request_is_whole_ends_by_reset(
    framing: str, net: Net, clock: MockClock, endings: Endings
) -> None:
    proxy = await net.proxy(await net.backend(endings.after(FRAMINGS[framing])))
    client = await net.client(proxy)
    await client.send(POST + b"half")
    await client.receive_until(b"half")
    await remove(proxy)
    assert await is_reset(client)
    assert endings.seen == [b"reset"]
    assert "cut by the operator" in (await access_log(proxy, 1))[0]


async def test_an_upload_the_backend_does_not_read_ends_with_502(net: Net, clock: MockClock) -> None:
    async def stare(connection: BackendConnection) -> None:
        await connection.read_head()
        await trio.sleep_forever()

    size = 1 << 26
    proxy = await net.proxy(await net.backend(stare))
    client = await net.client(proxy)

    async def push() -> None:
        await client.send(request("POST /", f"Content-Length: {size}"))
        with pytest.raises(trio.BrokenResourceError):
            await client.send(bytes(size))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(push)
        await trio.sleep(1)
        await remove(proxy)
        assert (await client.response("POST")).status == 502
    assert trio.current_time() < 3


async def test_a_client_that_does_not_read_keeps_no_backend(net: Net, clock: MockClock) -> None:
    ended = trio.Event()

    async def flood(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(HALF % (b"Content-Length: 268435456\r\n", b""))
        with pytest.raises(trio.BrokenResourceError):
            await connection.send(bytes(1 << 28))
        ended.set()

    proxy = await net.proxy(await net.backend(flood), listener="front_timeout = 0\nback_timeout = 0")
    client = await net.client(proxy)
    await client.send(GET)
    await trio.sleep(1)
    await remove(proxy)
    await ended.wait()
    assert trio.current_time() < 3
    assert await is_reset(client)


async def test_a_complete_response_is_kept(net: Net, clock: MockClock) -> None:
    """A pooled connection is not in use: it is closed because its backend is removed, and nobody notices."""
    backend = await net.backend()
    proxy = await net.proxy(backend)
    client = await net.client(proxy)
    assert (await client.get()).body == b"ok"
    await remove(proxy)
    assert backend.open == 0
    assert (await client.get()).status == 503


async def test_without_a_cut_what_has_begun_is_finished(net: Net, clock: MockClock) -> None:
    async def slow(connection: BackendConnection) -> None:
        await connection.read_head()
        await trio.sleep(10)
        await connection.send(OK)

    backend = await net.backend(slow)
    proxy = await net.proxy(backend)
    client = await net.client(proxy)
    await client.send(GET)
    await trio.sleep(1)
    await remove(proxy, grace=None)
    assert (await client.response()).body == b"ok"
    await trio.sleep(0.1)
    assert backend.open == 0


async def test_a_tunnel_ends_by_reset_on_both_sides(net: Net, clock: MockClock, endings: Endings) -> None:
    proxy = await net.proxy(await net.backend(endings.after(SWITCH, b"early")))
    client = await net.client(proxy)
    await client.send(UPGRADE)
    await client.receive_until(b"early")
    await remove(proxy)
    assert await is_reset(client)
    assert endings.seen == [b"reset"]
    assert "upgraded; cut by the operator: its backend was removed" in (await access_log(proxy, 1))[0]


async def test_a_session_ends_by_reset_on_both_sides(net: Net, clock: MockClock, endings: Endings) -> None:
    proxy, client = await open_session(net, endings.take)
    await client.send(b"hello")
    await trio.sleep(100)
    await remove(proxy)
    assert await is_reset(client)
    assert endings.seen == [b"reset"]
    record = json.loads((await access_log(proxy, 1))[0])
    assert (record["message"], record["level"]) == ("cut by the operator: its backend was removed", "ERROR-ACCESS")


async def open_session(net: Net, script: object) -> tuple[RunningProxy, Client]:
    proxy = await net.start(TCP, b0=await net.backend(script))
    net.clients.append(await proxy.connect("tcp"))
    return proxy, net.clients[-1]


@pytest.mark.parametrize("shut", ["client", "backend"])
async def test_a_session_that_is_half_closed_and_idle_ends_by_reset(
    shut: str, net: Net, clock: MockClock, endings: Endings
) -> None:
    async def shut_and_stay(connection: BackendConnection) -> None:
        if shut == "backend":
            await connection.send_eof()
            await endings.take(connection)
        else:
            await connection.receive_all()
            await trio.sleep(20)
            endings.seen += [b"reset"] * await is_shut_out(connection)

    proxy, client = await open_session(net, shut_and_stay)
    if shut == "client":
        await client.send_eof()
    await trio.sleep(10.5)
    await remove(proxy)
    assert len(await access_log(proxy, 1)) == 1, "nobody has to send anything for it to end"
    assert trio.current_time() < 12
    assert await (is_shut_out(client) if shut == "backend" else is_reset(client))
    await trio.sleep(20)
    assert endings.seen == [b"reset"]


async def is_shut_out(peer: BackendConnection | Client) -> bool:
    """Whether RST has come to one that has shut nothing but was told the other side had."""
    try:
        for _ in range(3):
            await peer.send(b"?")
            await trio.sleep(0.1)
    except trio.BrokenResourceError:
        return True
    return False


async def test_a_session_in_full_flow_ends_by_reset(
    net: Net, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So much moves both ways that it is spliced."""
    ended: list[str] = []
    stocks: list[PipeStock] = []
    in_full_flow = trio.Event()
    borrow = PipeStock.borrow

    def borrow_from(stock: PipeStock) -> Pipe | None:
        stocks.append(stock)
        if len(stocks) == 20:
            in_full_flow.set()
        return borrow(stock)

    monkeypatch.setattr(PipeStock, "borrow", borrow_from)

    async def flow(stream: trio.SocketStream, name: str) -> None:
        async def push() -> None:
            while True:
                await stream.send_all(bytes(1 << 18))

        async def pull() -> None:
            while await stream.receive_some(1 << 18):
                pass

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(push)
                nursery.start_soon(pull)
        except* trio.BrokenResourceError:
            ended.append(name)

    proxy, client = await open_session(net, lambda connection: flow(connection.stream, "backend"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flow, client.stream, "client")
        await in_full_flow.wait()
        await remove(proxy)
    await trio.sleep(0.1)
    assert sorted(ended) == ["backend", "client"]
    assert stocks[0].lent == 0


async def test_an_attempt_that_is_under_way_comes_to_nothing(
    net: Net, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def open_slowly(address: Address) -> object:
        await trio.sleep(2)
        return await open_connection(address)

    monkeypatch.setattr(connect_module, "open_connection", open_slowly)
    backend = await net.backend()
    proxy = await net.proxy(backend)
    client = await net.client(proxy)
    await client.send(GET)
    await trio.sleep(1)
    await remove(proxy)
    assert (await client.response()).status == 503
    await trio.sleep(0.1)
    assert (backend.heads, backend.open) == ([], 0)


async def test_one_that_came_back_is_connected_to(net: Net, clock: MockClock, endings: Endings) -> None:
    backend = await net.backend(endings.after(FRAMINGS["length"]))
    proxy = await net.proxy(backend)
    state = proxy.supervisor.state
    client = await net.client(proxy)
    await client.send(GET)
    await client.receive_until(b"half")
    await remove(proxy)
    await proxy.supervisor.change(state, proxy.supervisor.generation + 1)
    client = await net.client(proxy)
    await client.send(GET)
    await client.receive_until(b"half")
    assert backend.connections == 2
