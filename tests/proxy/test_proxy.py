"""What sessions share: the Table in force, and what outlives it."""

import socket
from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend, TcpFrontend
from sozu_trio.config.listeners import HttpListener, TcpListener
from sozu_trio.config.program import Program
from sozu_trio.errors import NoBackend
from sozu_trio.proxy.connect import BackendTimeouts, discard
from sozu_trio.proxy.proxy import SWEEP_PERIOD, Proxy
from sozu_trio.routing.compile import compile_table
from sozu_trio.routing.state import declare
from sozu_trio.routing.table import NO_TABLE
from sozu_trio.testing import BackendConnection
from sozu_trio.testing.plugin import StartBackend, StartProxy
from tests.addresses import free_address
from tests.nursery.counting import unlimited

pytestmark = pytest.mark.virtual_time

HTTP, TCP = Address("127.0.0.1", 80), Address("127.0.0.1", 25)
CONFIG = """
[[listeners]]
protocol = "http"
address = "$http"
[clusters.api]
protocol = "http"
frontends = [{ address = "$http", hostname = "example.com" }]
backends = [{ address = "$api" }]
"""


async def test_before_the_first_table_there_is_an_empty_one() -> None:
    proxy = Proxy(Program(), 0, unlimited())
    assert (proxy.table.generation, dict(proxy.table.listeners), proxy.backends.clusters) == (0, {}, {})


async def test_a_table_is_swapped_together_with_its_backends() -> None:
    proxy = Proxy(Program(), 0, unlimited())
    backend = Backend(cluster_id="api", backend_id="b", address=Address("127.0.0.1", 1))
    table = compile_table(declare([], [Cluster(cluster_id="api", protocol="http")], [], [], [backend]), 4)
    proxy.swap(table)
    assert proxy.table is table
    assert list(proxy.backends.clusters) == ["api"], "at once, as nobody is kept waiting yet"


async def test_the_next_table_is_followed_while_others_run(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    monkeypatch.setattr("sozu_trio.proxy.proxy.keep", kept.append)
    proxy = Proxy(Program(), 0, unlimited())
    proxy.swap(TABLE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(proxy.follow_swaps)
        await wait_all_tasks_blocked()
        proxy.swap(replace(NO_TABLE, generation=2))
        assert (list(proxy.backends.clusters), proxy.backends.find("api")) == (["api"], None)
        proxy.swap(replace(TABLE, generation=3))
        proxy.swap(replace(NO_TABLE, generation=4))
        proxy.swap(replace(TABLE, generation=5))
        await wait_all_tasks_blocked()
        assert (list(proxy.backends.clusters), kept) == (["api"], [4])
        nursery.cancel_scope.cancel()


async def test_access_log_lines_carry_the_workers_number_and_format() -> None:
    for form, mark in (("ascii", "WRK-07"), ("json", '"tag":"WRK-07"')):
        proxy = Proxy(Program(access_logs_format=form), 7, unlimited())  # type: ignore[arg-type]
        assert mark in proxy.access_log.lost(1)


async def test_a_pooled_connection_whose_backend_leaves_is_closed_within_a_sweep(
    start_proxy: StartProxy, start_backend: StartBackend
) -> None:
    leave, ended = trio.Event(), list[bytes]()

    async def serve_once(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await leave.wait()
        await connection.send_eof()
        ended.append(await connection.receive_all())

    proxy = await start_proxy(CONFIG, api=await start_backend(serve_once))
    client = await proxy.connect()
    assert (await client.get()).status == 200
    await trio.sleep(SWEEP_PERIOD)
    assert ended == []
    leave.set()
    await trio.sleep(2 * SWEEP_PERIOD)
    assert ended == [b""]
    await client.close()


async def test_when_the_proxy_ends_no_pooled_connection_stays(
    start_proxy: StartProxy, start_backend: StartBackend
) -> None:
    backend = await start_backend()
    proxy = await start_proxy(CONFIG, api=backend)
    client = await proxy.connect()
    assert (await client.get()).status == 200
    await trio.sleep(5)
    assert backend.open == 1
    await proxy.supervisor.stop(None)
    await proxy.supervisor.stopped.wait()
    await trio.sleep(1)
    assert backend.open == 0
    await client.close()


async def test_what_nobody_uses_is_closed_on_request() -> None:
    proxy = Proxy(Program(), 0, unlimited())
    pipe = proxy.pipes.borrow()
    assert pipe is not None
    assert proxy.close_unused() == 0
    proxy.pipes.give_back(pipe, empty=True)
    assert proxy.close_unused() == 2


TABLE = compile_table(
    declare(
        [HttpListener(address=HTTP), TcpListener(address=TCP)],
        [Cluster(cluster_id="api")],
        [
            HttpFrontend(address=HTTP, hostname="a.example", path="/api", method="GET", cluster_id="api"),
            HttpFrontend(address=HTTP, hostname="a.example"),
        ],
        [TcpFrontend(address=TCP, cluster_id="not declared")],
        [Backend(cluster_id="api", backend_id="b", address=Address("127.0.0.1", 1))],
    ),
    9,
)


async def test_a_route_is_found_for_an_operator() -> None:
    proxy = Proxy(Program(), 0, unlimited())
    proxy.swap(TABLE)
    host = b"a.example"
    assert proxy.find_route(HTTP, host, b"/api/x", b"GET") == {
        "generation": 9,
        "outcome": "forward",
        "frontend": {
            "address": "127.0.0.1:80",
            "hostname": "a.example",
            "path_type": "PREFIX",
            "path": "/api",
            "method": "GET",
            "position": "TREE",
            "cluster": "api",
        },
        "cluster": "api",
    }
    denied = proxy.find_route(HTTP, host, b"/api/x", b"PUT")
    assert (denied["outcome"], denied["cluster"], denied["frontend"]["cluster"]) == ("deny", None, None)
    for address, outcome, cluster in (
        (HTTP, "not found", None),
        (TCP, "forward", "not declared"),
        (Address("127.0.0.1", 1), "no listener", None),
    ):
        found = proxy.find_route(address, b"b.example", b"/", b"GET")
        assert found == {"generation": 9, "outcome": outcome, "frontend": None, "cluster": cluster}


async def test_backends_are_described_for_an_operator() -> None:
    proxy = Proxy(Program(), 0, unlimited())
    proxy.swap(TABLE)
    assert proxy.describe_backends(None) == proxy.describe_backends("api")
    assert [each["backend_id"] for each in proxy.describe_backends("api")] == ["b"]
    assert proxy.describe_backends("not declared") == []


async def test_what_happens_to_backends_is_told_to_whoever_wants_to_know() -> None:
    proxy = Proxy(Program(), 0, unlimited())
    told: list[tuple[object, ...]] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(proxy.follow_swaps)
        for table in (TABLE, NO_TABLE, TABLE):
            proxy.swap(table)
        await wait_all_tasks_blocked()
        proxy.on_event = lambda *event: told.append(event)
        proxy.swap(NO_TABLE)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert told == [("REMOVED_BACKEND_HAS_NO_CONNECTIONS", "api", "b", Address("127.0.0.1", 1))]


class Watched:
    """A data path with one backend, and what it told of it."""

    def __init__(self, address: Address) -> None:
        self.proxy = Proxy(Program(), 0, unlimited())
        self.told: list[tuple[object, ...]] = []
        self.proxy.on_event = lambda *event: self.told.append(event)
        self._address = address

    def swap(self, *, weight: int = 100, generation: int = 1) -> None:
        backend = Backend(cluster_id="api", backend_id="b", address=self._address, weight=weight)
        self.proxy.swap(compile_table(declare([], [Cluster(cluster_id="api")], [], [], [backend]), generation))

    async def try_it(self) -> bool:
        """What a request does; whether it has reached the backend."""
        cluster = self.proxy.backends.find("api")
        assert cluster is not None
        connector = self.proxy.connector(cluster, BackendTimeouts(5, 5))
        try:
            discard(await connector.connect())
        except NoBackend:
            return False
        return True

    async def try_at_once(self, count: int) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(count):
                nursery.start_soon(self.try_it)


@pytest.mark.parametrize("swapped", [False, True])
async def test_down_and_up_are_told_once_each_however_many_fail(swapped: bool) -> None:
    """In each of ten rounds many fail at the same moment; and where a Table comes between two rounds, all the same."""
    address = free_address()
    watched = Watched(address)
    down, up = (("BACKEND_" + kind, "api", "b", address) for kind in ("DOWN", "UP"))
    watched.swap()
    for failures in range(1, 11):
        await watched.try_at_once(5)
        (described,) = watched.proxy.describe_backends("api")
        assert described["failures"] == failures
        assert 0 < described["retry_in"] <= 63
        assert watched.told.count(down) == (failures >= 6)
        await trio.sleep(64)
        if swapped:
            watched.swap(weight=failures, generation=failures + 1)
    assert watched.proxy.counters.backend_down == 1
    with socket.create_server((address.host, address.port)):
        for generation in range(20, 23):
            assert await watched.try_it()
            if swapped:
                watched.swap(weight=generation, generation=generation)
    (described,) = watched.proxy.describe_backends("api")
    assert (described["failures"], described["retry_in"]) == (0, 0)
    nobody, recovered = ((kind, "api", None, None) for kind in ("NO_AVAILABLE_BACKENDS", "CLUSTER_RECOVERED"))
    assert watched.told == [nobody, down, up, recovered]


async def test_down_is_told_again_after_it_was_up() -> None:
    address = free_address()
    watched = Watched(address)
    watched.swap()
    for _ in range(2):
        for _ in range(7):
            assert not await watched.try_it()
            await trio.sleep(64)
        with socket.create_server((address.host, address.port)):
            assert await watched.try_it()
    kinds = [kind for kind, *_ in watched.told]
    assert (kinds.count("BACKEND_DOWN"), kinds.count("BACKEND_UP")) == (2, 2)


async def test_a_backend_that_was_down_and_is_added_anew_begins_anew() -> None:
    address = free_address()
    watched = Watched(address)
    watched.swap()
    for _ in range(7):
        await watched.try_it()
        await trio.sleep(64)
    watched.proxy.swap(NO_TABLE)
    watched.swap(generation=3)
    assert watched.proxy.describe_backends("api")[0]["failures"] == 0
    assert [kind for kind, *_ in watched.told].count("BACKEND_UP") == 0
