"""A backend connection: the next one where one refuses, patience with those that did, 503 when nobody is left."""

import errno
import socket
from collections.abc import Callable, Iterator
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster, LoadBalancing, LoadMetric
from sozu_trio.errors import NoBackend
from sozu_trio.proxy import connect as connect_module
from sozu_trio.proxy.backends import BackendState, ClusterState
from sozu_trio.proxy.connect import BackendTimeouts, Connector, discard, give_back, open_connection
from sozu_trio.routing.balancing import make_balancer
from sozu_trio.telemetry.counters import Counters
from sozu_trio.testing import RunningProxy
from tests.addresses import free_address
from tests.proxy.parts import GET, Net, access_log


@pytest.fixture
def deaf() -> Iterator[Address]:
    """Where a connection is neither accepted nor refused: a queue of one that is full."""
    listening = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = socket.create_connection(listening.getsockname())
    host, port = listening.getsockname()
    yield Address(host, port)
    waiting.close()
    listening.close()


def refusals(proxy: RunningProxy) -> int:
    return sum("Connection refused" in line for line in proxy.log)


async def test_next_one_where_one_refuses(net: Net) -> None:
    api = await net.backend()
    proxy = await net.proxy(free_address(), api)
    client = await net.client(proxy)
    for _ in range(5):
        assert (await client.get()).status == 200
    assert (len(api.heads), refusals(proxy)) == (5, 1)


async def test_all_refuse(net: Net, clock: MockClock) -> None:
    proxy = await net.proxy(*[free_address() for _ in range(5)])
    client = await net.client(proxy)
    for tried in (3, 5, 5):
        response = await client.get()
        assert (response.status, response.fields[b"retry-after"]) == (503, b"60")
        assert refusals(proxy) == tried
    assert trio.current_time() < 1, "nobody waited"


@pytest.mark.parametrize(("lines", "field"), [("retry_after = 7", b"7"), ("retry_after = 0", None)])
async def test_retry_after_as_configured(lines: str, field: bytes | None, net: Net) -> None:
    client = await net.client(await net.proxy(top=lines))
    response = await client.get()
    assert (response.status, response.fields.get(b"retry-after")) == (503, field)


async def test_back_off_grows_and_ends_with_the_first_connection(net: Net, clock: MockClock) -> None:
    address = free_address()
    proxy = await net.proxy(address)
    client = await net.client(proxy)
    tried: list[float] = []
    while len(tried) < 6:
        assert (await client.get()).status == 503
        if refusals(proxy) > len(tried):
            tried.append(trio.current_time())
        await trio.sleep(0.25)
    pauses = [later - earlier for earlier, later in pairwise(tried)]
    for failures, pause in enumerate(pauses):
        assert 1 <= pause <= max(1, 2**failures - 1) + 0.5
    assert sum("is down" in line for line in proxy.log) == 1
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(address.port, host=address.host)
        nursery.start_soon(trio.serve_listeners, serve_one, listeners)
        await trio.sleep(64)
        client = await net.client(proxy)
        assert (await client.get()).status == 200
        nursery.cancel_scope.cancel(reason="the test is over")
    assert (await client.get()).status == 503
    await trio.sleep(1.1)
    before = refusals(proxy)
    await client.get()
    assert refusals(proxy) == before + 1, "the first pause again"


async def test_back_off_that_ends_while_the_head_is_read(net: Net, clock: MockClock) -> None:
    address = free_address()
    proxy = await net.proxy(address)
    client = await net.client(proxy)
    assert (await client.get()).status == 503
    await client.send(GET[:9])
    await trio.sleep(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            trio.serve_listeners, serve_one, await trio.open_tcp_listeners(address.port, host=address.host)
        )
        await client.send(GET[9:])
        assert (await client.response()).status == 200
        nursery.cancel_scope.cancel(reason="the test is over")


async def serve_one(stream: trio.SocketStream) -> None:
    await stream.receive_some(65536)
    await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


async def test_backups_only_while_no_primary_is_ready(net: Net, clock: MockClock) -> None:
    backup = await net.backend()
    proxy = await net.proxy(free_address(), backup, backend=["", ", backup = true"])
    client = await net.client(proxy)
    for _ in range(3):
        assert (await client.get()).status == 200
    assert (len(backup.heads), refusals(proxy)) == (3, 1)
    await trio.sleep(1.1)
    await client.get()
    assert refusals(proxy) == 2, "the primary is asked again"


async def test_backups_rest_while_a_primary_serves(net: Net) -> None:
    primary, backup = await net.backend(), await net.backend()
    client = await net.client(await net.proxy(backup, primary, backend=[", backup = true"]))
    for _ in range(5):
        await client.get()
    assert (len(primary.heads), backup.connections) == (5, 0)


async def test_backend_that_does_not_answer_the_call(deaf: Address, net: Net, clock: MockClock) -> None:
    api = await net.backend()
    client = await net.client(await net.proxy(deaf, api, listener="connect_timeout = 3"))
    began = trio.current_time()
    assert (await client.get()).status == 200
    assert trio.current_time() - began == pytest.approx(3, abs=0.01)
    assert (await client.get()).status == 200
    assert trio.current_time() - began == pytest.approx(3, abs=0.01)


async def test_nobody_answers_the_call(deaf: Address, net: Net, clock: MockClock) -> None:
    client = await net.client(await net.proxy(deaf, listener="connect_timeout = 3"))
    assert (await client.get()).status == 503
    assert trio.current_time() == pytest.approx(3, abs=0.01)


async def test_slow_head_takes_nothing_from_the_time_to_connect(deaf: Address, net: Net, clock: MockClock) -> None:
    proxy = await net.proxy(deaf, await net.backend(), listener="request_timeout = 4\nconnect_timeout = 3")
    client = await net.client(proxy)
    await client.send(GET[:9])
    await trio.sleep(3)
    await client.send(GET[9:])
    assert (await client.response()).status == 200


async def test_client_that_leaves_meanwhile(deaf: Address, net: Net, clock: MockClock) -> None:
    proxy = await net.proxy(deaf, listener="connect_timeout = 30")
    client = await net.client(proxy)
    await client.send(GET)
    await trio.sleep(1)
    await client.close()
    assert "closed its connection" in (await access_log(proxy, 1))[0]
    assert trio.current_time() < 2


async def test_open_connection() -> None:
    for host in ("127.0.0.1", "::1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, 0), family=family)
        port = listening.getsockname()[1]
        with listening, await open_connection(Address(host, port)) as sock:
            assert sock.getpeername()[:2] == (host, port)
            assert not sock.getblocking()
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_open_connection_that_is_refused() -> None:
    with pytest.raises(ConnectionRefusedError):
        await open_connection(free_address())


async def test_open_connection_that_is_cancelled(deaf: Address, clock: MockClock) -> None:
    with trio.move_on_after(1) as scope:
        await open_connection(deaf)
    assert scope.cancelled_caught


def connector_to(address: Address, relieve: Callable[[], int] = lambda: 0) -> tuple[Connector, BackendState]:
    connector, state, _ = connector_of(address, relieve)
    return connector, state


def connector_of(
    address: Address, relieve: Callable[[], int] = lambda: 0
) -> tuple[Connector, BackendState, ClusterState]:
    state = BackendState(
        Backend(cluster_id="api", backend_id="b", address=address), LoadMetric.CONNECTIONS, 100, str(address)
    )
    balancer = make_balancer(LoadBalancing.ROUND_ROBIN, lambda: 0.0)
    cluster = ClusterState(Cluster(cluster_id="api", protocol="http"), [state], [], balancer)
    return connector_of_cluster(cluster, relieve), state, cluster


def connector_of_cluster(cluster: ClusterState, relieve: Callable[[], int] = lambda: 0) -> Connector:
    return Connector(cluster, BackendTimeouts(3, 30), Counters(), lambda: 0.0, relieve)


async def test_what_is_our_own_fault_is_not_held_against_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    async def out_of_descriptors(address: Address) -> socket.socket:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(connect_module, "open_connection", out_of_descriptors)
    connector, state = connector_to(free_address())
    connector.choose(trio.current_time())
    with pytest.raises(NoBackend, match="3 attempts"):
        await connector.connect()
    assert (state.connections, state.back_off.failures) == (0, 0)


async def test_connection_that_was_lost_counts_as_an_attempt_only_when_it_was_new() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        connector, state = connector_to(Address(*listening.getsockname()))
        connector.choose(trio.current_time())
        connection = await connector.connect()
        assert (connection.reused, state.connections, state.requests) == (False, 1, 1)
        connector.lost(connection)
        assert (connector.failures, state.connections, state.requests) == (1, 0, 0)
        assert connector.take_idle(trio.current_time()) is None, "the next one is new"
        again = await connector.connect()
        again.reuse()
        connector.lost(again)
        assert connector.failures == 1


async def test_cancelled_attempt_is_taken_back(deaf: Address, clock: MockClock) -> None:
    connector, state = connector_to(deaf)
    connector.choose(trio.current_time())
    with trio.move_on_after(1):
        await connector.connect()
    assert (state.connections, state.back_off.failures) == (0, 0)


async def test_descriptors_are_made_free_for_a_connection(net: Net, clock: MockClock) -> None:
    """The kernel has no descriptor left until somebody idle has gone; nobody is blamed for it."""
    full, calls = [True], []

    def relieve() -> int:
        calls.append(trio.current_time())
        full[0] = False
        return 1

    async def open_or_not(address: Address) -> socket.socket:
        if full[0]:
            raise OSError(errno.EMFILE, "Too many open files")
        return await open_connection(address)

    backend = await net.backend()
    proxy = await net.proxy(backend)
    connector, state = connector_to(backend.address, relieve)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sozu_trio.proxy.connect.open_connection", open_or_not)
        connector.choose(trio.current_time())
        connection = await connector.connect()
    assert (len(calls), connector.failures, state.back_off.failures) == (1, 0, 0)
    assert any("Too many open files; 1 idle connections closed" in line for line in proxy.log)
    connection.stream.close()


async def test_what_becomes_of_a_backend_is_told(clock: MockClock) -> None:
    """Each event once: down after six failures, nobody left at once, and both over with the first connection."""
    told: list[tuple[object, ...]] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        address = Address(*listening.getsockname())
    connector, state, cluster = connector_of(address)
    cluster.availability.tell = lambda *event: told.append(event)
    nobody = ("NO_AVAILABLE_BACKENDS", "api", None, None)
    down, up = (("BACKEND_" + kind, "api", "b", address) for kind in ("DOWN", "UP"))
    for failures in range(1, 9):
        connector = connector_of_cluster(cluster)
        with pytest.raises(NoBackend):
            await connector.connect()
        assert told == ([nobody] if failures < 6 else [nobody, down])
        await trio.sleep(64)
    with socket.create_server((address.host, address.port)):
        for _ in range(2):
            connection = await connector_of_cluster(cluster).connect()
            assert told[2:] == [up, ("CLUSTER_RECOVERED", "api", None, None)]
            discard(connection)
    assert not state.back_off.failures


async def test_a_pooled_connection_that_serves_is_a_recovery(net: Net) -> None:
    told: list[str] = []
    _, state, cluster = connector_of((await net.backend()).address)
    connection = await connector_of_cluster(cluster).connect()
    give_back(connection, cluster, trio.current_time())
    state.back_off.fail(trio.current_time(), lambda: 0.0)
    assert cluster.choose(trio.current_time(), []) is None
    cluster.availability.tell = lambda kind, *_: told.append(kind)
    state.back_off.until = 0
    assert connector_of_cluster(cluster).take_idle(trio.current_time()) is connection
    assert told == ["CLUSTER_RECOVERED"]
    discard(connection)
