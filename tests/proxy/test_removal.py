"""Backends that go, come back or move while they serve: what has begun is finished, unless its time is up."""

import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from sozu_trio.testing import BackendConnection, Client, RunningProxy
from tests.addresses import free_address
from tests.proxy.parts import GET, OK, Net, access_log, request
from tests.proxy.removing import DROPS, KINDS, Heard, Kind, answer, converse, parse, put, remove

CONFIGURATION = """
access_logs_format = "json"
[[listeners]]
protocol = "http"
address = "$http"
[[listeners]]
protocol = "tcp"
address = "$tcp"
[clusters.api]
protocol = "http"
load_balancing = "ROUND_ROBIN"
frontends = [{ address = "$http", hostname = "example.com" }]
backends = [{ address = "$b0", backend_id = "b0" }, { address = "$b1", backend_id = "b1" }]
"""
GRACES = {"never": None, "later than they take": DROPS + 60.0, "earlier": 5.0, "at once": 0.0}
BEGUN = 1.5
"""Seconds after which a backend is removed, between two pieces of what it says."""


class Talks:
    """Two conversations of a kind at the same time, one with each backend of cluster `api`."""

    def __init__(self, net: Net, kind: Kind) -> None:
        self._net = net
        self._kind = kind
        self.heard = [Heard(), Heard()]

    async def start(self) -> RunningProxy:
        backends = {f"b{number}": await self._net.backend(self._backend(number)) for number in range(2)}
        text = CONFIGURATION
        if not self._kind.speaks:
            text = text.replace('"http"\nload', '"tcp"\nload').replace('"$http", hostname = "example.com"', '"$tcp"')
        return await self._net.start(text, **backends)

    def _backend(self, number: int) -> Callable[[BackendConnection], Awaitable[None]]:
        async def script(connection: BackendConnection) -> None:
            await answer(self._kind, connection, self.heard[number].backend)

        return script

    async def hold(self, proxy: RunningProxy, nursery: trio.Nursery) -> None:
        """Begin both, the one with b0 first: backends take turns."""
        for heard in self.heard:
            self._net.clients.append(await proxy.connect(self._kind.listener))
            nursery.start_soon(converse, self._net.clients[-1], self._kind.client, heard.client)
            await trio.sleep(0.1)


@pytest.mark.parametrize("grace", list(GRACES))
@pytest.mark.parametrize("name", list(KINDS))
async def test_what_is_under_way_is_finished_or_cut_in_its_time(
    name: str, grace: str, net: Net, clock: MockClock
) -> None:
    kind, seconds = KINDS[name], GRACES[grace]
    talks = Talks(net, kind)
    proxy = await talks.start()
    async with trio.open_nursery() as nursery:
        await talks.hold(proxy, nursery)
        await trio.sleep(BEGUN)
        removed = trio.current_time()
        await remove(proxy, seconds)
    gone, stays = talks.heard
    assert_whole(kind, stays)
    assert stays.backend.end != "reset"
    lines = {line["backend_id"]: line["message"] for line in map(json.loads, await access_log(proxy, 2))}
    assert lines["b1"].endswith("complete")
    if seconds is None or seconds > DROPS:
        assert_whole(kind, gone)
        assert gone.backend.end == "end", "and not kept for another request"
        assert lines["b0"] == lines["b1"]
        return
    assert_cut(kind, gone, removed + seconds)
    assert "cut by the operator" in lines["b0"]


def assert_whole(kind: Kind, heard: Heard) -> None:
    assert kind.was_whole(heard.client.data)
    assert (heard.client.end, heard.backend.data) == ("end", kind.payload)


def assert_cut(kind: Kind, heard: Heard, at: float) -> None:
    """At that time, and neither side can take what it has for all there is."""
    assert heard.backend.end == "reset"
    assert heard.backend.at == pytest.approx(at, abs=0.1)
    assert heard.backend.data != kind.payload or not kind.payload
    if kind.uploads:
        response = parse(heard.client.data, "POST", ended=False)
        assert response is not None
        assert response.status == 502
        assert heard.client.at >= at
        return
    assert (heard.client.end, kind.was_whole(heard.client.data)) == ("reset", False)
    assert heard.client.at == pytest.approx(at, abs=0.1)
    if kind.listener == "http" and not heard.client.data.startswith(b"HTTP/1.1 101 "):
        assert parse(heard.client.data, "GET", ended=False) is None
        assert not heard.client.data.endswith(b"0\r\n\r\n")


# Back again, moved, or only changed.


class Gate:
    """A backend that answers a request only when told to, and counts those who ask."""

    def __init__(self) -> None:
        self.open = trio.Event()
        self.asked = 0

    async def __call__(self, connection: BackendConnection) -> None:
        while True:
            await connection.read_head()
            self.asked += 1
            await self.open.wait()
            await connection.send(OK)


@pytest.fixture
def gate() -> Gate:
    return Gate()


async def begin(net: Net, proxy: RunningProxy) -> Client:
    """A request that has reached its backend."""
    client = await net.client(proxy)
    await client.send(GET)
    await trio.sleep(0.1)
    return client


async def backends_of(proxy: RunningProxy) -> list[dict[str, object]]:
    """What the only worker says of the backends of cluster `api`."""
    (described,) = (await proxy.supervisor.look("backends", {"cluster": "api"})).values()
    return list(described)


async def test_who_comes_back_in_time_is_not_cut_and_its_connections_are_kept(
    net: Net, clock: MockClock, gate: Gate
) -> None:
    backend = await net.backend(gate)
    proxy = await net.proxy(backend)
    client = await begin(net, proxy)
    gone = await remove(proxy, 5)
    assert (await (await net.client(proxy)).get()).status == 503
    await trio.sleep(4)
    await put(proxy, gone)
    (described,) = await backends_of(proxy)
    assert (described["connections"], described["requests"]) == (1, 1), "it is the one it was"
    await trio.sleep(10)
    gate.open.set()
    assert (await client.response()).body == b"ok"
    assert (await client.get()).body == b"ok"
    assert (backend.connections, backend.open) == (1, 1)


async def test_gone_again_it_has_a_time_of_its_own(net: Net, clock: MockClock, gate: Gate) -> None:
    backend = await net.backend(gate)
    proxy = await net.proxy(backend)
    client = await begin(net, proxy)
    gone = await remove(proxy, 5)
    await trio.sleep(4)
    await put(proxy, gone)
    await remove(proxy, 5)
    await trio.sleep(4)
    assert backend.open == 1
    began = trio.current_time()
    assert (await client.response()).status == 502
    assert trio.current_time() - began == pytest.approx(1, abs=0.1)
    assert gate.asked == 1


async def test_a_removed_cluster_that_comes_back_has_its_backends_as_they_were(
    net: Net, clock: MockClock, gate: Gate
) -> None:
    backend = await net.backend(gate)
    proxy = await net.proxy(backend)
    state = proxy.supervisor.state
    client = await begin(net, proxy)
    await proxy.supervisor.change(replace(state, clusters={}, http_frontends={}, backends={}), 2)
    assert (await (await net.client(proxy)).get()).status == 404
    await proxy.supervisor.change(state, 3)
    assert [each["connections"] for each in await backends_of(proxy)] == [1]
    gate.open.set()
    assert (await client.response()).body == b"ok"
    assert (await client.get()).body == b"ok"
    assert backend.connections == 1


@pytest.mark.parametrize("grace", [None, 5])
async def test_a_backend_that_moves_finishes_where_it_was(
    grace: float | None, net: Net, clock: MockClock, gate: Gate
) -> None:
    there = await net.backend()
    here = await net.backend(gate)
    proxy = await net.proxy(here)
    gate.open.set()
    idle, busy = [await begin(net, proxy) for _ in range(2)]
    assert [(await each.response()).status for each in (idle, busy)] == [200, 200]
    gate.open = trio.Event()
    both = [await begin(net, proxy) for _ in range(2)]
    (backend,) = proxy.supervisor.state.backends["api"].values()
    moved = trio.current_time()
    await put(proxy, replace(backend, address=there.address), grace)
    client = await net.client(proxy)
    assert (await client.get()).body == b"ok"
    assert (here.connections, there.connections, len(there.heads)) == (2, 1, 1)
    if grace is None:
        await trio.sleep(20)
        gate.open.set()
    # What was cut goes by the backends it began with: none of them is left.
    assert [(await each.response()).status for each in both] == [200 if grace is None else 502] * 2
    assert trio.current_time() - moved == pytest.approx(grace or 20, abs=0.1)
    gate.open.set()
    await trio.sleep(0.1)
    assert (here.open, there.open) == (0, 1), "nothing is kept where it was"
    assert (await client.get()).body == b"ok"
    assert there.connections == 1


async def test_idle_connections_of_a_backend_that_moves_are_closed_at_once(net: Net, clock: MockClock) -> None:
    here, there = await net.backend(), await net.backend()
    proxy = await net.proxy(here)
    client = await net.client(proxy)
    assert (await client.get()).status == 200
    (backend,) = proxy.supervisor.state.backends["api"].values()
    await put(proxy, replace(backend, address=there.address))
    assert (here.open, len(here.heads)) == (0, 1)
    assert (await client.get()).status == 200
    await put(proxy, backend)
    assert (await client.get()).status == 200
    assert (here.open, there.open) == (1, 0)
    assert (len(here.heads), len(there.heads)) == (2, 1)


async def test_a_weight_that_changes_touches_nothing_else(net: Net, clock: MockClock, gate: Gate) -> None:
    backend = await net.backend(gate)
    dead = free_address()
    proxy = await net.proxy(backend, dead)
    clients = [await begin(net, proxy) for _ in range(3)]
    before = await backends_of(proxy)
    assert [each["requests"] for each in before] == [3, 0]
    assert [each["failures"] for each in before] == [0, 1]
    for backend_id, each in proxy.supervisor.state.backends["api"].items():
        await put(proxy, replace(each, weight=7 if backend_id == "b0" else 200), 0)
    after = await backends_of(proxy)
    # Time goes on.
    assert all(0 < float(str(each[1]["retry_in"])) <= 1 for each in (before, after))
    for described in (*before, *after):
        del described["retry_in"]
    assert after == before
    gate.open.set()
    assert [(await client.response()).body for client in clients] == [b"ok"] * 3
    await trio.sleep(0.1)
    assert backend.open == 3
    for client in clients:
        assert (await client.get()).body == b"ok"
    assert backend.connections == 3
    assert sum("Connection refused" in line for line in proxy.log) == 1


async def test_weights_count_from_the_change_on(net: Net) -> None:
    light, heavy = await net.backend(), await net.backend()
    proxy = await net.proxy(light, heavy)
    client = await net.client(proxy)
    for _ in range(10):
        await client.get()
    assert (len(light.heads), len(heavy.heads)) == (5, 5)
    await put(proxy, replace(proxy.supervisor.state.backends["api"]["b1"], weight=300))
    for _ in range(40):
        await client.get()
    assert (len(light.heads), len(heavy.heads)) == (15, 35)
    assert (light.connections, heavy.connections) == (1, 1)


async def test_a_request_that_waits_for_its_body_goes_by_the_backends_it_began_with(
    net: Net, clock: MockClock, gate: Gate
) -> None:
    """It has a backend already; the one that has come meanwhile is for others."""
    old, new = await net.backend(gate), await net.backend()
    proxy = await net.proxy(old)
    client = await net.client(proxy)
    await client.send(request("POST /", "Content-Length: 4") + b"ha")
    await trio.sleep(0.1)
    gone = await remove(proxy, None)
    await put(proxy, replace(gone, backend_id="b1", address=new.address))
    await client.send(b"lf")
    gate.open.set()
    assert (await client.response("POST")).body == b"ok"
    assert (await (await net.client(proxy)).get()).body == b"ok"
    assert (gate.asked, len(new.heads)) == (1, 1)
