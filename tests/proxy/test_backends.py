"""Which backend is next, what it has to do already, and which of its connections are kept."""

import socket
from collections.abc import Iterator

import pytest
import trio
from trio.testing import MockClock

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster, LoadBalancing, LoadMetric
from sozu_trio.proxy.backends import BackendState, ClusterState, Connection
from sozu_trio.proxy.connect import discard, give_back
from sozu_trio.proxy.stream import Stream
from sozu_trio.routing.balancing import make_balancer
from sozu_trio.testing import BackendConnection
from tests.proxy.parts import OK, Net, at_end, request

API = Cluster(cluster_id="api", protocol="http", max_idle_connections=2, idle_timeout=30)


def backend(name: str = "b0", *, weight: int = 100, backup: bool = False) -> Backend:
    return Backend(cluster_id="api", backend_id=name, address=Address("127.0.0.1", 1), weight=weight, backup=backup)


def state(name: str = "b0", metric: LoadMetric = LoadMetric.CONNECTIONS) -> BackendState:
    return BackendState(backend(name), metric, 100, "127.0.0.1:1")


def cluster(*primaries: BackendState, backups: tuple[BackendState, ...] = ()) -> ClusterState:
    balancer = make_balancer(LoadBalancing.ROUND_ROBIN, lambda: 0.0)
    return ClusterState(API, list(primaries), list(backups), balancer)


class Pairs:
    """Connections to a backend, with the backend's ends."""

    def __init__(self) -> None:
        self.far: list[socket.socket] = []
        self._near: list[Connection] = []

    def open(self, to: BackendState) -> Connection:
        near, far = socket.socketpair()
        near.setblocking(False)
        self.far.append(far)
        to.count(1)
        self._near.append(to.use(Stream(near, 0)))
        return self._near[-1]

    def close(self) -> None:
        for connection in self._near:
            connection.stream.close()
        for far in self.far:
            far.close()


def is_open(connection: Connection) -> bool:
    return connection.stream.sock.fileno() >= 0


@pytest.fixture
def pairs() -> Iterator[Pairs]:
    pairs = Pairs()
    yield pairs
    pairs.close()


def test_primaries_take_turns() -> None:
    one, two = state("one"), state("two")
    both = cluster(one, two, backups=(state("backup"),))
    assert [both.choose(0, []) for _ in range(4)] == [one, two, one, two]


def test_who_is_in_back_off_is_passed_over_until_it_ends() -> None:
    one, two, backup = state("one"), state("two"), state("backup")
    both = cluster(one, two, backups=(backup,))
    one.back_off.fail(0, lambda: 0.0)
    assert [both.choose(0.5, []) for _ in range(2)] == [two, two]
    two.back_off.fail(0.7, lambda: 0.0)
    assert both.choose(0.9, []) is backup
    assert both.choose(1.0, []) is one
    backup.back_off.fail(0.9, lambda: 0.0)
    one.back_off.fail(1.0, lambda: 0.0)
    assert both.choose(1.1, []) is None


def test_who_was_tried_is_passed_over_while_there_are_others() -> None:
    one, two = state("one"), state("two")
    both = cluster(one, two)
    assert [both.choose(0, [one]) for _ in range(2)] == [two, two]
    assert both.choose(0, [one, two]) in {one, two}
    assert cluster(one).choose(0, [one]) is one


def test_nobody_there() -> None:
    assert cluster().choose(0, []) is None


def test_load_by_connections_counts_those_in_use(pairs: Pairs) -> None:
    one = state()
    busy, idle = pairs.open(one), pairs.open(one)
    assert one.load() == 2
    give_back(idle, cluster(one), 0)
    assert one.load() == 1
    discard(busy)
    assert (one.load(), one.connections, one.requests) == (0, 1, 0)


def test_load_by_requests() -> None:
    one = state(metric=LoadMetric.REQUESTS)
    one.requests, one.connections = 3, 9
    assert one.load() == 3


def test_load_by_connection_time_remembers_peaks_for_a_while() -> None:
    one = state(metric=LoadMetric.CONNECTION_TIME)
    assert one.load() == pytest.approx(0.05)
    one.connected(0.4, now=100)
    one.requests = 1
    assert one.load() == pytest.approx(0.8)
    one.connected(0.1, now=100.5)
    assert one.load() == pytest.approx(0.4)
    one.connected(0.1, now=110)
    assert one.load() == pytest.approx(0.2)


def test_connection_made_ends_back_off() -> None:
    one = state()
    one.back_off.fail(0, lambda: 0.0)
    one.connected(0.1, now=0.5)
    assert one.back_off.ready(0.5)


def test_the_last_used_is_taken_first(pairs: Pairs) -> None:
    one = state()
    first, second = pairs.open(one), pairs.open(one)
    first.stream.bytes_out = 100
    for connection in (second, first):
        assert not connection.reused
        give_back(connection, cluster(one), 0)
    assert one.take_idle() is first
    assert (first.reused, first.written, one.requests) == (True, 0, 1)
    first.stream.bytes_out += 5
    assert first.written == 5


def test_dead_and_noisy_connections_are_not_taken(pairs: Pairs) -> None:
    one = state()
    quiet, noisy, dead = (pairs.open(one) for _ in range(3))
    for connection in (quiet, noisy, dead):
        one.requests -= 1
        one.idle.append(connection)
    pairs.far[1].send(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    pairs.far[2].close()
    assert one.take_idle() is quiet
    assert one.take_idle() is None
    assert (is_open(noisy), is_open(dead), one.connections) == (False, False, 1)


def test_no_more_are_kept_than_allowed(pairs: Pairs) -> None:
    one = state()
    connections = [pairs.open(one) for _ in range(3)]
    for connection in connections:
        give_back(connection, cluster(one), 0)
    assert [is_open(connection) for connection in connections] == [True, True, False]
    assert (one.connections, one.requests) == (2, 0)


def test_a_cluster_tells_once_that_it_has_nobody() -> None:
    told: list[tuple[object, ...]] = []
    one = state()
    api = cluster(one)
    api.availability.tell = lambda *event: told.append(event)
    assert api.choose(0, []) is one
    one.back_off.fail(0, lambda: 0.0)
    assert [api.choose(0.5, []) for _ in range(3)] == [None, None, None]
    assert told == [("NO_AVAILABLE_BACKENDS", "api", None, None)]
    assert api.choose(1.5, []) is one, "it may be tried, which is not yet to serve"
    api.recovered()
    assert told[1:] == [("CLUSTER_RECOVERED", "api", None, None)]


async def test_a_connection_that_is_cut_is_neither_kept_nor_counted(pairs: Pairs) -> None:
    one = state()
    connection = pairs.open(one)
    called: list[str] = []
    connection.on_cut = lambda: called.append("cut")
    one.cut(connection)
    assert (one.connections, called) == (0, ["cut"])
    give_back(connection, cluster(one), 0)
    assert (one.connections, one.requests, one.idle) == (0, 0, [])
    assert one.take_idle() is None


async def test_connections_are_shared_by_clients(net: Net) -> None:
    api = await net.backend()
    proxy = await net.proxy(api)
    for _ in range(4):
        client = await net.client(proxy)
        await client.get()
    assert (api.connections, len(api.heads)) == (1, 4)


async def test_as_many_are_kept_as_allowed(net: Net, clock: MockClock) -> None:
    async def slow(connection: BackendConnection) -> None:
        while True:
            await connection.read_head()
            await trio.sleep(1)
            await connection.send(OK)

    api = await net.backend(slow)
    proxy = await net.proxy(api, cluster="max_idle_connections = 2\nidle_timeout = 10")
    clients = [await net.client(proxy) for _ in range(5)]
    for client in clients:
        await client.send(request())
    for client in clients:
        await client.response()
    await trio.sleep(0.5)
    assert (api.connections, api.open) == (5, 2)
    await trio.sleep(8)
    assert api.open == 2
    await trio.sleep(3)
    assert api.open == 0


async def test_unsolicited_bytes_end_an_idle_connection(net: Net, clock: MockClock) -> None:
    async def chatter(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(OK)
        await trio.sleep(0.1)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
        await at_end(connection)

    api = await net.backend(chatter)
    client = await net.client(await net.proxy(api))
    for n in (1, 2):
        assert (await client.get()).body == b"ok"
        assert api.connections == n
        await trio.sleep(0.2)
    await trio.sleep(2)
    assert api.open == 0, "the sweep has found it"


@pytest.mark.parametrize("policy", ["ROUND_ROBIN", "RANDOM", "LEAST_LOADED", "POWER_OF_TWO"])
async def test_every_policy_uses_all_backends(policy: str, net: Net) -> None:
    backends = [await net.backend() for _ in range(3)]
    client = await net.client(await net.proxy(*backends, cluster=f'load_balancing = "{policy}"'))
    for _ in range(60):
        await client.get()
    assert sum(len(each.heads) for each in backends) == 60
    assert all(each.heads for each in backends)


async def test_weights_are_shares(net: Net) -> None:
    light, heavy = await net.backend(), await net.backend()
    client = await net.client(await net.proxy(light, heavy, backend=[", weight = 1", ", weight = 3"]))
    for _ in range(40):
        await client.get()
    assert (len(light.heads), len(heavy.heads)) == (10, 30)


async def test_least_loaded_keeps_clear_of_the_busy(net: Net, clock: MockClock) -> None:
    async def never(connection: BackendConnection) -> None:
        await at_end(connection)

    busy, free = await net.backend(never), await net.backend()
    proxy = await net.proxy(busy, free, cluster='load_balancing = "LEAST_LOADED"')
    stuck = 0
    while not stuck:
        client = await net.client(proxy)
        await client.send(request())
        await trio.sleep(0.1)
        stuck = busy.connections
    before = len(free.heads)
    for _ in range(10):
        await (await net.client(proxy)).get()
    assert (busy.connections, len(free.heads)) == (1, before + 10)
