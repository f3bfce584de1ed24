"""The handler a worker is given: one too many is told so at once, and descriptors that run out come back by
themselves.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Cluster
from sozu_trio.config.limits import EXHAUSTED_PAUSE, LINGER
from sozu_trio.config.program import Program, Settings
from sozu_trio.control.messages import Happened
from sozu_trio.proxy.doors import CLUSTERS_PER_SLICE, ProxyHandler
from sozu_trio.routing.table import NO_TABLE, ClusterEntry
from sozu_trio.testing import BackendConnection, Client, RunningProxy, ScriptedBackend
from sozu_trio.testing.plugin import StartBackend, StartProxy
from tests.descriptors import every_descriptor_taken
from tests.nursery.counting import alone

in_virtual_time = pytest.mark.virtual_time

BOTH = """
max_connections = {most}
retry_after = 7
[[listeners]]
protocol = "http"
address = "$http"
[[listeners]]
protocol = "tcp"
address = "$tcp"
[clusters.api]
protocol = "http"
frontends = [{{ address = "$http", hostname = "example.com" }}]
backends = [{{ address = "$api" }}]
[clusters.db]
protocol = "tcp"
frontends = [{{ address = "$tcp" }}]
backends = [{{ address = "$db" }}]
"""
GET = b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"


async def echo(connection: BackendConnection) -> None:
    while data := await connection.stream.receive_some():
        await connection.send(data)


class House:
    """A proxy for so many, and those who have come."""

    def __init__(self, proxy: RunningProxy, backend: ScriptedBackend) -> None:
        self.proxy = proxy
        self.backend = backend
        self.clients: list[Client] = []

    async def connect(self, name: str = "http") -> Client:
        self.clients.append(await self.proxy.connect(name))
        return self.clients[-1]


@pytest.fixture
async def house(start_proxy: StartProxy, start_backend: StartBackend) -> AsyncIterator[House]:
    backend = await start_backend()
    proxy = await start_proxy(BOTH.format(most=3), api=backend, db=await start_backend(echo))
    made = House(proxy, backend)
    yield made
    for client in made.clients:
        await trio.aclose_forcefully(client.stream)


async def is_served(client: Client) -> bool:
    return (await client.get()).status == 200


@in_virtual_time
async def test_one_more_than_the_limit_is_told_at_once_and_no_request_is_needed(house: House) -> None:
    inside = [await house.connect() for _ in range(3)]
    for client in inside:
        assert await is_served(client)
    refused = await house.connect()
    begun = trio.current_time()
    response = await refused.response()
    assert (response.status, response.fields[b"retry-after"], response.fields[b"connection"]) == (503, b"7", b"close")
    assert await refused.receive_all() == b""
    assert trio.current_time() == begun
    for client in inside:
        assert await is_served(client)


@in_virtual_time
async def test_a_request_already_sent_does_not_turn_the_answer_into_a_reset(house: House) -> None:
    for _ in range(3):
        await house.connect()
    refused = await house.connect()
    await refused.send(GET + b"x" * 100_000)
    assert (await refused.response()).status == 503
    assert await refused.receive_all() == b""


@in_virtual_time
async def test_who_was_refused_may_linger_only_so_long(house: House) -> None:
    for _ in range(3):
        await house.connect()
    await house.connect()
    await house.proxy.supervisor.stop(None)
    begun = trio.current_time()
    for client in house.clients[:3]:
        await client.close()
    await house.proxy.supervisor.stopped.wait()
    assert trio.current_time() - begun <= LINGER + 0.2


@in_virtual_time
async def test_on_a_tcp_listener_it_is_a_plain_close(house: House) -> None:
    for _ in range(3):
        await house.connect()
    assert await (await house.connect("tcp")).receive_all() == b""


@in_virtual_time
async def test_the_limit_is_for_all_listeners_together_and_exact(house: House) -> None:
    for name in ("http", "tcp", "tcp"):
        await house.connect(name)
    await wait_all_tasks_blocked()
    for _ in range(3):
        assert (await (await house.connect()).response()).status == 503
        assert await (await house.connect("tcp")).receive_all() == b""
    await house.clients[0].close()
    await wait_all_tasks_blocked()
    assert await is_served(await house.connect())
    assert (await (await house.connect()).response()).status == 503


@in_virtual_time
async def test_a_refused_client_that_is_gone_already_is_nothing(house: House) -> None:
    for _ in range(3):
        await house.connect()
    await (await house.connect()).reset()
    await wait_all_tasks_blocked()
    assert not [line for line in house.proxy.log if "ERROR" in line]
    assert await is_served(house.clients[0])


@in_virtual_time
async def test_sessions_are_counted(start_backend: StartBackend) -> None:
    handler = ProxyHandler(Program(settings=Settings(max_connections=5)), 1, alone())
    assert handler.doors.capacity.limit == 5
    assert handler.lines is handler.proxy.lines
    assert handler.proxy.counters.sessions == 0
    assert handler.doors.next_name() < handler.doors.next_name()


def test_events_of_the_proxy_are_told() -> None:
    handler, told = ProxyHandler(Program(), 1, alone()), list[Happened]()
    handler.tell_with(told.append)
    address = Address("127.0.0.1", 9000)
    handler.proxy.on_event("BACKEND_DOWN", "api", "b", address)
    handler.proxy.on_event("NO_AVAILABLE_BACKENDS", "api", None, None)
    assert told == [
        Happened(kind="BACKEND_DOWN", cluster_id="api", backend_id="b", address=address),
        Happened(kind="NO_AVAILABLE_BACKENDS", cluster_id="api"),
    ]


@in_virtual_time
async def test_what_is_looked_at_is_asked_of_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    handler = ProxyHandler(Program(), 1, alone())
    clusters = [f"c{number}" for number in range(2 * CLUSTERS_PER_SLICE + 1)]
    entry = ClusterEntry(Cluster(cluster_id="any"), ())
    handler.swap(replace(NO_TABLE, clusters=dict.fromkeys(clusters, entry)))
    monkeypatch.setattr(handler.proxy, "describe_backends", lambda cluster_id: [{"cluster": cluster_id}] * 2)
    monkeypatch.setattr(handler.proxy, "find_route", lambda *asked: asked)
    assert await handler.look("backends", {"cluster": "api"}) == [{"cluster": "api"}] * 2
    assert await handler.look("backends", {}) == [{"cluster": each} for each in clusters for _ in range(2)]
    query = {"address": "127.0.0.1:80", "host": "example.com", "path": "/caf\xe9", "method": "GET"}
    asked = (Address("127.0.0.1", 80), b"example.com", b"/caf\xe9", b"GET")
    assert await handler.look("route", query) == asked
    removed = {"backends": [["api", "one", "127.0.0.1:80"]]}
    assert await handler.look("removed", removed) == {"sessions": 0, "websocket": 0, "tcp": 0, "cut": 0}


@in_virtual_time
@pytest.mark.parametrize(
    ("what", "query", "said"),
    [
        ("future", {}, "no such thing to look at: future"),
        ("backends", {"cluster": 7}, "'cluster': 7"),
        ("backends", {"cluster": "api", "colour": "red"}, "'colour': 'red'"),
        ("backends", {"colour": "red"}, "'colour': 'red'"),
        ("route", {}, "no such thing to look at: route"),
        ("removed", {}, "no such thing to look at: removed"),
        ("removed", {"backends": [["api", "one", "nowhere"]]}, "'nowhere' is not an address"),
        ("removed", {"backends": [], "colour": "red"}, "'colour': 'red'"),
        ("route", {"address": "nowhere", "host": "a", "path": "/", "method": "GET"}, "'nowhere' is not an address"),
        ("route", {"address": "127.0.0.1:80", "host": "\u20ac", "path": "/", "method": "GET"}, "can't encode"),
    ],
)
async def test_what_cannot_be_looked_at_is_refused(what: str, query: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        await ProxyHandler(Program(), 1, alone()).look(what, query)


@pytest.fixture
async def crowd(start_proxy: StartProxy, start_backend: StartBackend) -> AsyncIterator[House]:
    """As `house`, with room for everybody. In real time, with the real kernel; all actors share its descriptors."""
    backend = await start_backend()
    proxy = await start_proxy(BOTH.format(most=1000), api=backend, db=await start_backend(echo))
    made = House(proxy, backend)
    yield made
    for client in made.clients:
        await trio.aclose_forcefully(client.stream)


async def connect_later(house: House) -> tuple[Client, Callable[[], Awaitable[None]]]:
    """A client that has its descriptor already, and how it connects."""
    sock = trio.socket.socket()
    client = Client(trio.SocketStream(sock))
    house.clients.append(client)
    address = house.proxy.addresses["http"]

    async def connect() -> None:
        await sock.connect((address.host, address.port))

    return client, connect


def complaints(house: House) -> list[str]:
    return [line for line in house.proxy.log if "cannot accept: Too many open files" in line]


async def test_out_of_descriptors_the_oldest_idle_leave_and_newcomers_are_served(crowd: House) -> None:
    with trio.fail_after(20):
        idle = [await crowd.connect() for _ in range(40)]
        for client in idle:
            assert await is_served(client)
        newcomers = [await connect_later(crowd) for _ in range(8)]
        with every_descriptor_taken():
            for client, connect in newcomers:
                await connect()
                assert await is_served(client)
        for client in idle[:8]:
            assert await client.receive_all() == b""
        for client in idle[30:]:
            assert await is_served(client)
        assert 1 <= len(complaints(crowd)) <= 5


async def test_out_of_descriptors_with_nothing_to_give_back_it_rests_and_recovers_by_itself(crowd: House) -> None:
    with trio.fail_after(20):
        client, connect = await connect_later(crowd)
        with every_descriptor_taken():
            await connect()
            begun = time.process_time()
            await trio.sleep(10 * EXHAUSTED_PAUSE)
            assert time.process_time() - begun < 5 * EXHAUSTED_PAUSE
        assert await is_served(client)
        assert 1 <= len(complaints(crowd)) <= 2
