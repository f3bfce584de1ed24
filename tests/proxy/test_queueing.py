"""Limits of connections to backends: who waits, in which order, for how long, and that nothing is left behind."""

import itertools
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster
from sozu_trio.config.program import Program, Settings
from sozu_trio.errors import BackendsFull, NoBackend
from sozu_trio.nursery.places import Places
from sozu_trio.nursery.regions import Regions
from sozu_trio.nursery.tally import SLOTS, Tally
from sozu_trio.proxy import connect as connect_module
from sozu_trio.proxy.backends import Connection
from sozu_trio.proxy.connect import BackendTimeouts, Connector, discard, give_back
from sozu_trio.proxy.proxy import Proxy
from sozu_trio.proxy.queueing import LOOK, Gauge
from sozu_trio.routing.compile import compile_table
from sozu_trio.routing.state import declare
from sozu_trio.testing import BackendConnection, Client, ScriptedBackend
from sozu_trio.testing.plugin import StartBackend
from tests.nursery.counting import alone
from tests.proxy.parts import OK, Net, access_log, counters_of
from tests.proxy.tcp_sessions import Connect, Start, echo

pytestmark = pytest.mark.virtual_time


@dataclass
class Gated:
    """A backend that answers when it is told to."""

    asked: list[bytes] = field(default_factory=list)
    go: trio.Semaphore = field(default_factory=lambda: trio.Semaphore(0))
    most: int = 0
    """Requests it has had at once."""
    _now: int = 0

    async def serve(self, connection: BackendConnection) -> None:
        while head := await connection.read_head():
            self.asked.append(head.split(b" ")[1])
            self._now += 1
            self.most = max(self.most, self._now)
            await self.go.acquire()
            self._now -= 1
            await connection.send(OK)


@pytest.fixture
def gated() -> Gated:
    return Gated()


async def asks(net: Net, client: Client, path: str) -> Client:
    await client.send(f"GET {path} HTTP/1.1\r\nHost: example.com\r\n\r\n".encode())
    await wait_all_tasks_blocked()
    return client


@pytest.mark.parametrize("where", ["cluster", "backend"])
async def test_who_waits_is_served_in_order(net: Net, gated: Gated, where: str) -> None:
    limit = {"cluster": "max_connections = 1"} if where == "cluster" else {"backend": [", max_connections = 1"]}
    backend = await net.backend(gated.serve)
    proxy = await net.proxy(backend, **limit)
    clients = [await asks(net, await net.client(proxy), f"/{number}") for number in range(4)]
    assert gated.asked == [b"/0"]
    assert (await counters_of(proxy))["backend.queue.waiting"] == 3
    for number, client in enumerate(clients):
        gated.go.release()
        assert (await client.response()).status == 200
        await wait_all_tasks_blocked()
        assert gated.asked == [b"/%d" % each for each in range(min(4, number + 2))]
    assert (gated.most, backend.connections) == (1, 1)
    counted = await counters_of(proxy)
    assert counted["backend.queue.total"] == 3
    assert "backend.queue.waiting" not in counted
    assert "backend.queue.refused" not in counted


async def test_a_full_queue_is_told_at_once(net: Net, gated: Gated) -> None:
    proxy = await net.proxy(
        await net.backend(gated.serve), top="retry_after = 3", cluster="max_connections = 1\nmax_queue = 1"
    )
    first, second = [await asks(net, await net.client(proxy), "/") for _ in range(2)]
    begun = trio.current_time()
    refused = await (await net.client(proxy)).get()
    assert (refused.status, refused.fields[b"retry-after"]) == (503, b"3")
    assert trio.current_time() == begun
    for client in (first, second):
        gated.go.release()
        assert (await client.response()).status == 200
    assert (await counters_of(proxy))["backend.queue.refused"] == 1
    (line, *_) = await access_log(proxy, 3)
    assert "cluster api has all the connections it may have, and 1 wait already" in line


async def test_nobody_waits_for_longer_than_the_time_out(net: Net, gated: Gated) -> None:
    proxy = await net.proxy(await net.backend(gated.serve), cluster="max_connections = 1\nqueue_timeout = 2")
    first = await asks(net, await net.client(proxy), "/")
    begun = trio.current_time()
    assert (await (await net.client(proxy)).get()).status == 503
    assert trio.current_time() - begun == pytest.approx(2, abs=0.01)
    gated.go.release()
    assert (await first.response()).status == 200
    assert gated.asked == [b"/"]


async def test_without_a_time_out_it_waits_on(net: Net, gated: Gated) -> None:
    proxy = await net.proxy(await net.backend(gated.serve), cluster="max_connections = 1\nqueue_timeout = 0")
    clients = [await asks(net, await net.client(proxy), "/") for _ in range(2)]
    await trio.sleep(10)
    for client in clients:
        gated.go.release()
        assert (await client.response()).status == 200


async def test_a_client_that_goes_leaves_the_queue(net: Net, gated: Gated) -> None:
    proxy = await net.proxy(await net.backend(gated.serve), cluster="max_connections = 1")
    first, second, third = [await asks(net, await net.client(proxy), f"/{number}") for number in range(3)]
    await second.close()
    await wait_all_tasks_blocked()
    assert (await counters_of(proxy))["backend.queue.waiting"] == 1
    for client in (first, third):
        gated.go.release()
        assert (await client.response()).status == 200
    assert gated.asked == [b"/0", b"/2"]


async def test_the_limit_of_each_backend_is_its_own(net: Net) -> None:
    one, two = Gated(), Gated()
    proxy = await net.proxy(
        await net.backend(one.serve), await net.backend(two.serve), backend=[", max_connections = 1"] * 2
    )
    clients = [await asks(net, await net.client(proxy), f"/{number}") for number in range(4)]
    assert (len(one.asked), len(two.asked)) == (1, 1)
    two.go.release()
    await wait_all_tasks_blocked()
    assert (len(one.asked), len(two.asked)) == (1, 2)
    for gate in (one, two):
        for _ in clients:
            gate.go.release()
    assert {(await client.response()).status for client in clients} == {200}
    assert (one.most, two.most) == (1, 1)


async def test_an_idle_connection_of_another_backend_is_closed_where_it_is_in_the_way(net: Net) -> None:
    one, two = await net.backend(), await net.backend()
    proxy = await net.proxy(one, two, cluster="max_connections = 1")
    client = await net.client(proxy)
    for _ in range(4):
        assert (await client.get()).status == 200
        await wait_all_tasks_blocked()
        assert one.open + two.open == 1
    assert (len(one.heads), len(two.heads)) == (2, 2)


async def test_a_backup_is_none_for_those_that_are_full(net: Net, gated: Gated) -> None:
    backup = await net.backend()
    proxy = await net.proxy(
        await net.backend(gated.serve), backup, backend=[", max_connections = 1", ", backup = true"]
    )
    clients = [await asks(net, await net.client(proxy), "/") for _ in range(2)]
    assert backup.heads == []
    for client in clients:
        gated.go.release()
        assert (await client.response()).status == 200


async def test_tcp_sessions_wait_too(serve: Start, start_backend: StartBackend, connect: Connect) -> None:
    backend = await start_backend(echo)
    proxy = await serve(backend, cluster="max_connections = 1\nqueue_timeout = 2")
    first, second = await connect(proxy), await connect(proxy)
    await first.send(b"a")
    await second.send(b"b")
    assert await first.receive_exactly(1) == b"a"
    await wait_all_tasks_blocked()
    assert backend.open == 1
    await first.close()
    assert await second.receive_exactly(1) == b"b"
    begun = trio.current_time()
    assert await (await connect(proxy)).receive_all() == b""
    assert trio.current_time() - begun == pytest.approx(2, abs=0.01)


class House:
    """Workers before the same backends, which count together, without clients."""

    def __init__(self, workers: int = 1) -> None:
        regions = Regions()
        self.tallies = [Tally(regions.fileno(), regions.give(1 + number)) for number in range(workers)]
        regions.close()
        self.workers = [Proxy(Program(), 0, Places(tally, Settings())) for tally in self.tallies]
        self.generation = itertools.count(1)

    def configure(self, *addresses: Address, most: int = 0, **cluster: float) -> None:
        """`most`: connections to each backend."""
        backends = [
            Backend(cluster_id="api", backend_id=str(number), address=address, max_connections=most)
            for number, address in enumerate(addresses)
        ]
        clusters = [Cluster(cluster_id="api", **cluster)] if addresses else []  # type: ignore[arg-type]
        generation = next(self.generation)
        for worker in self.workers:
            worker.swap(compile_table(declare([], clusters, [], [], backends), generation))
            worker.backends.find("api")

    def connector(self, worker: int = 0) -> Connector:
        proxy = self.workers[worker]
        cluster = proxy.backends.find("api")
        assert cluster is not None
        return proxy.connector(cluster, BackendTimeouts(5, 5))

    async def connect(self, worker: int = 0) -> Connection:
        connector, now = self.connector(worker), trio.current_time()
        return connector.take_idle(now) or await connector.connect()

    def give_back(self, connection: Connection, worker: int = 0) -> None:
        cluster = self.workers[worker].backends.find("api")
        if cluster is None:
            discard(connection)
        else:
            give_back(connection, cluster, trio.current_time())

    def close(self) -> None:
        for worker in self.workers:
            worker.close_unused()


@pytest.fixture
async def backend(start_backend: StartBackend) -> ScriptedBackend:
    return await start_backend(echo)


async def test_limits_that_change_wake_who_waits(backend: ScriptedBackend) -> None:
    house = House()
    house.configure(backend.address, max_connections=1)
    held = [await house.connect()]

    async def wait() -> None:
        held.append(await house.connect())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
        assert len(held) == 1
        house.configure(backend.address, max_connections=2)
        await wait_all_tasks_blocked()
        assert len(held) == 2
        house.configure(backend.address)
        await wait_all_tasks_blocked()
        assert len(held) == 4
    assert len(house.tallies[0]) == 0
    house.configure(backend.address, most=4)
    house.configure(backend.address, most=4, max_queue=0)
    with pytest.raises(BackendsFull):
        await house.connect()
    house.give_back(held.pop())
    held.append(await house.connect())
    assert held[-1].reused
    for connection in held:
        discard(connection)
    house.close()
    assert len(house.tallies[0]) == 0


async def test_a_backend_that_comes_and_a_cluster_that_goes(
    backend: ScriptedBackend, start_backend: StartBackend
) -> None:
    house, other = House(), await start_backend(echo)
    house.configure(backend.address, most=1)
    first = await house.connect()
    got: list[Connection | str] = []

    async def wait() -> None:
        try:
            got.append(await house.connect())
        except NoBackend as error:
            got.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        house.configure(backend.address, other.address, most=1)
        await wait_all_tasks_blocked()
        (second,) = got
        assert isinstance(second, Connection)
        assert second.state.backend.address == other.address
        house.configure()
        await wait_all_tasks_blocked()
        assert got[1:] == ["there is no cluster api any more"]
    for connection in (first, second):
        discard(connection)
    assert len(house.tallies[0]) == 0


async def test_what_is_given_back_in_another_worker_is_found(backend: ScriptedBackend) -> None:
    house = House(2)
    house.configure(backend.address, max_connections=1)
    first = await house.connect(0)
    begun = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            second = await house.connect(1)
            assert trio.current_time() <= begun + 1 + LOOK
            discard(second)

        nursery.start_soon(wait)
        await trio.sleep(1)
        discard(first)
    assert list(map(len, house.tallies)) == [0, 0]


@pytest.mark.parametrize("while_waiting", [False, True])
async def test_idle_connections_of_another_worker_are_in_nobodys_way(
    backend: ScriptedBackend, while_waiting: bool
) -> None:
    house = House(2)
    house.configure(backend.address, max_connections=1)
    first = await house.connect(0)
    if not while_waiting:
        house.give_back(first, 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.workers[0].yield_idle)
        with trio.fail_after(3 * LOOK + while_waiting):
            if while_waiting:

                async def later() -> None:
                    await trio.sleep(1)
                    house.give_back(first, 0)

                nursery.start_soon(later)
            discard(await house.connect(1))
        nursery.cancel_scope.cancel()
    house.close()
    assert list(map(len, house.tallies)) == [0, 0]


async def test_each_worker_gets_its_share(backend: ScriptedBackend) -> None:
    """One with many who wait leaves some to the other one, which has as many."""
    house = House(2)
    chance = random.Random(1)
    for worker in house.workers:
        worker.backends._random = chance.random
    house.configure(backend.address, max_connections=2, queue_timeout=0)
    served = [0, 0]

    async def work(worker: int) -> None:
        while True:
            connection = await house.connect(worker)
            try:
                await trio.sleep(0.1)
                served[worker] += 1
            finally:
                house.give_back(connection, worker)

    with trio.move_on_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(work, number % 2)
    assert min(served) > 0.3 * sum(served)
    assert sum(served) > 0.75 * 2 * 60 / 0.1
    house.close()
    assert list(map(len, house.tallies)) == [0, 0]


def test_a_gauge_gives_back_only_what_was_counted() -> None:
    tally = alone()
    for number in range(SLOTS + SLOTS // 8):
        tally.add(tally.key(number.to_bytes(8)))
    counted = len(tally)
    gauges = [Gauge(tally, str(number).encode()) for number in range(5000)]
    for gauge in gauges:
        gauge.change(2)
    assert {gauge.here for gauge in gauges} == {0, 2}
    for gauge in gauges:
        gauge.change(-3)
        assert (gauge.here, gauge.total()) == (0, 0)
    assert len(tally) == counted


class Uncertain:
    """A network on which connecting takes some time, or fails, and a crowd that comes and goes on it."""

    def __init__(self, seed: int, most: int, limit: int) -> None:
        self.random = random.Random(seed)
        self.house = House(2)
        self.addresses = [Address("192.0.2.1", 1), Address("192.0.2.1", 2)]
        self.most, self.limit = most, limit
        self.others: list[socket.socket] = []

    async def open_connection(self, _: Address) -> socket.socket:
        await trio.sleep(self.random.choice([0, 0.01, 0.3]))
        if self.random.random() < 0.1:
            raise ConnectionRefusedError("refused")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.others.append(theirs)
        return ours

    def check(self) -> None:
        """Never more than there may be, and one more at most for the other worker."""
        states = [list(worker.backends.clusters.get("api") or ()) for worker in self.house.workers]
        for of_one_backend in zip(*states, strict=True):
            assert not self.most or sum(state.connections for state in of_one_backend) <= self.most + 1
        total = sum(state.connections for of_worker in states for state in of_worker)
        assert not self.limit or total <= self.limit + 1

    async def visit(self, worker: int) -> None:
        await trio.sleep(self.random.random() * 3)
        with trio.move_on_after(self.random.choice([0.05, 0.5, 100])):
            try:
                connection = await self.house.connect(worker)
            except NoBackend:
                return
            self.check()
            try:
                await trio.sleep(self.random.choice([0, 0.02, 0.5]))
            finally:
                how: Callable[[], None] = self.random.choice(
                    [lambda: discard(connection), lambda: self.house.give_back(connection, worker)]
                )
                how()

    async def run(self) -> None:
        try:
            self.house.configure(*self.addresses, most=self.most, max_connections=self.limit, queue_timeout=1)
            async with trio.open_nursery() as services:
                for worker in self.house.workers:
                    services.start_soon(worker.yield_idle)
                async with trio.open_nursery() as nursery:
                    for number in range(30):
                        nursery.start_soon(self.visit, number % 2)
                services.cancel_scope.cancel()
        finally:
            self.house.close()
            for sock in self.others:
                sock.close()
        assert list(map(len, self.house.tallies)) == [0, 0]
        assert [worker.counters.queued for worker in self.house.workers] == [0, 0]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(0, 3), st.integers(0, 4))
def test_nothing_is_left_whatever_happens(seed: int, most: int, limit: int) -> None:
    uncertain = Uncertain(seed, most, limit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connect_module, "open_connection", uncertain.open_connection)
        trio.run(uncertain.run, clock=MockClock(autojump_threshold=0))
