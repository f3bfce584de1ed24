"""All backends of a worker over all Tables: who stays, who is gone, what it still serves, and what is told of it."""

import math
import socket
from collections.abc import Iterator, Mapping
from dataclasses import replace

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster, LoadBalancing, LoadMetric
from sozu_trio.proxy import backend_states
from sozu_trio.proxy.backend_states import SWEPT, BackendStates
from sozu_trio.proxy.backends import BackendState, ClusterState, Connection
from sozu_trio.proxy.connect import discard, give_back
from sozu_trio.proxy.stream import Stream
from sozu_trio.routing.slices import finish
from sozu_trio.routing.table import ClusterEntry
from tests.nursery.counting import alone

API = Cluster(cluster_id="api", idle_timeout=30)
HERE, THERE = Address("127.0.0.1", 1), Address("127.0.0.1", 2)
EMPTIED = "REMOVED_BACKEND_HAS_NO_CONNECTIONS"


def backend(name: str = "one", *, weight: int = 100, backup: bool = False, address: Address = HERE) -> Backend:
    return Backend(cluster_id="api", backend_id=name, address=address, weight=weight, backup=backup)


def entries(*backends: Backend, api: Cluster = API) -> dict[str, ClusterEntry]:
    return {"api": ClusterEntry(api, backends)}


class World:
    """BackendStates with what they told, and connections whose other ends a test holds."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.states = BackendStates(lambda: 0.0, alone(), lambda *event: self.told.append(event))
        self._sockets: list[socket.socket] = []

    def swap(self, *backends: Backend, api: Cluster = API) -> None:
        self.swap_to(entries(*backends, api=api))

    def swap_to(self, entries: Mapping[str, ClusterEntry]) -> None:
        self.states.swap(entries)
        finish(self.states.follow())

    def state(self, name: str = "one") -> BackendState:
        (found,) = [state for state in self.states.clusters["api"] if state.backend.backend_id == name]
        return found

    def open(self, to: BackendState) -> Connection:
        near, far = socket.socketpair()
        near.setblocking(False)
        self._sockets += [near, far]
        to.count(1)
        return to.use(Stream(near, 0))

    def give_back(self, connection: Connection, now: float = 0) -> None:
        give_back(connection, self.states.clusters["api"], now)

    def leave(self, connection: Connection) -> None:
        """The backend closes it."""
        self._sockets[self._sockets.index(connection.stream.sock) + 1].close()

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


def is_open(connection: Connection) -> bool:
    return not connection.stream.is_closed


def test_what_stays_keeps_its_state_over_a_swap(world: World) -> None:
    world.swap(backend("one"), backend("two", backup=True))
    before = world.states.clusters["api"]
    busier = replace(API, load_metric=LoadMetric.REQUESTS, idle_timeout=7)
    world.swap(backend("one", weight=7), backend("three"), api=busier)
    after = world.states.clusters["api"]
    assert after.primaries[0] is before.primaries[0]
    assert (after.primaries[0].weight, after.backups, after.balancer) == (7, [], before.balancer)
    assert (after.primaries[0].metric, after.primaries[0].idle_timeout) == (LoadMetric.REQUESTS, 7)
    assert after.availability is before.availability
    world.swap(backend("one"), api=replace(API, load_balancing=LoadBalancing.RANDOM))
    assert world.states.clusters["api"].balancer is not before.balancer


def test_who_asks_for_a_cluster_need_not_wait_for_the_others(world: World) -> None:
    world.swap(backend())
    one = world.state()
    idle = world.open(one)
    world.give_back(idle)
    world.states.swap(entries(backend(weight=3)))
    assert (world.state() is one, one.weight) == (True, 100)
    api = world.states.find("api")
    assert api is world.states.clusters["api"]
    assert one.weight == 3
    world.states.swap(entries(backend("two")))
    assert next(world.states.describe("api", 0))["backend_id"] == "two"
    assert (is_open(idle), world.told) == (False, [(EMPTIED, "api", "one", HERE)])
    world.states.swap({})
    assert world.states.find("api") is None
    assert world.told == [(EMPTIED, "api", "one", HERE), (EMPTIED, "api", "two", HERE)]


async def test_what_has_not_followed_yet_is_cut_as_what_has(world: World) -> None:
    world.swap(backend())
    api, one = world.states.clusters["api"], world.state()
    busy = world.open(one)
    world.states.swap({})
    assert world.states.cut("api", "one", HERE) == 1
    assert world.told == [(EMPTIED, "api", "one", HERE)]
    assert (is_open(busy), one.is_cut, api.choose(1e9, [])) == (False, True, None)


def test_what_is_gone_and_back_before_its_turn_has_been_gone(world: World) -> None:
    world.swap(backend())
    one = world.state()
    world.states.swap({})
    world.swap(backend())
    assert world.state() is not one
    assert world.told == [(EMPTIED, "api", "one", HERE)]


def test_an_entry_that_is_the_same_is_passed_over(world: World) -> None:
    same, other = entries(backend("one")), ClusterEntry(Cluster(cluster_id="other"), ())
    world.swap_to(same)
    api = world.states.clusters["api"]
    world.swap_to({**same, "other": other})
    assert world.states.clusters["api"] is api
    assert list(world.states.clusters) == ["api", "other"]
    world.swap_to(same)
    assert list(world.states.clusters) == ["api"]
    assert world.told == []


def test_a_backend_at_another_address_is_another_one(world: World) -> None:
    world.swap(backend())
    before = world.state()
    world.swap(backend(address=THERE))
    assert world.state() is not before
    assert before.leaving is not None
    assert world.told == [(EMPTIED, "api", "one", HERE)]


@pytest.mark.parametrize("with_cluster", [False, True])
def test_what_is_gone_closes_what_it_kept_and_keeps_no_more(with_cluster: bool, world: World) -> None:
    world.swap(backend())
    api, one = world.states.clusters["api"], world.state()
    idle, busy = world.open(one), world.open(one)
    world.give_back(idle)
    if with_cluster:
        world.swap_to({})
    else:
        world.swap()
    assert (is_open(idle), is_open(busy), world.told) == (False, True, [])
    give_back(busy, api, 0)
    assert not is_open(busy)
    assert one.connections == 0
    assert world.told == [(EMPTIED, "api", "one", HERE)]


def test_who_leaves_without_connections_is_told_at_once(world: World) -> None:
    world.swap(backend("one"), backend("two"))
    world.give_back(world.open(world.state("one")))
    world.swap(backend("two"))
    assert world.told == [(EMPTIED, "api", "one", HERE)]


def test_an_attempt_counts_as_a_connection(world: World) -> None:
    world.swap(backend())
    one = world.state()
    one.count(1)
    world.swap()
    assert world.told == []
    one.count(-1)
    assert world.told == [(EMPTIED, "api", "one", HERE)]


def test_who_comes_back_before_it_is_empty_is_the_same(world: World) -> None:
    world.swap(backend())
    one = world.state()
    busy = world.open(one)
    one.back_off.fail(0, lambda: 0.0)
    world.swap()
    world.swap(backend(weight=3))
    assert world.state() is one
    assert (one.weight, one.back_off.failures) == (3, 1)
    world.give_back(busy)
    assert one.idle == [busy]
    assert world.told == []
    one.close_idle()
    world.swap()
    world.swap(backend())
    assert world.state() is not one, "nothing was left of it"


async def test_what_a_removed_backend_serves_is_cut(world: World) -> None:
    world.swap(backend(), backend("two"))
    one, two = world.state(), world.state("two")
    connections = [world.open(one), world.open(one), world.open(two)]
    world.swap(backend("two"))
    assert world.states.cut("api", "one", THERE) == 0
    assert world.states.cut("api", "one", HERE) == 2
    assert [is_open(connection) for connection in connections] == [False, False, True]
    assert world.told == [(EMPTIED, "api", "one", HERE)]
    assert world.states.cut("api", "one", HERE) == 0
    for connection in connections[:2]:
        discard(connection)
    assert (one.connections, one.requests, len(world.told)) == (0, 0, 1)


async def test_a_removed_backend_that_was_cut_is_chosen_by_nobody_until_it_is_back(world: World) -> None:
    world.swap(backend())
    api, one = world.states.clusters["api"], world.state()
    one.count(1)
    world.swap()
    assert api.choose(0, []) is one, "who began before may still try it"
    world.states.cut("api", "one", HERE)
    assert one.is_cut
    assert api.choose(1e9, []) is None
    world.swap(backend())
    assert (world.state() is one, one.is_cut, one.leaving) == (True, False, None)
    assert world.states.clusters["api"].choose(0, []) is one


async def test_a_backend_that_stays_is_cut_but_not_shut_out(world: World) -> None:
    world.swap(backend())
    one = world.state()
    busy, idle = world.open(one), world.open(one)
    world.give_back(idle)
    assert world.states.cut("api", "one", HERE) == 1
    assert (is_open(busy), is_open(idle), one.connections) == (False, True, 1)
    world.give_back(busy)
    assert one.idle == [idle]
    assert world.states.clusters["api"].choose(0, []) is one
    assert world.told == []


def test_who_is_unknown_has_nothing_to_cut(world: World) -> None:
    assert world.states.cut("api", "one", HERE) == 0


async def test_who_is_left_at_removed_backends_is_counted(world: World) -> None:
    removed = [("api", "one", HERE), ("api", "two", THERE)]
    world.swap(backend("one"), backend("two", address=THERE))
    one, two = world.state("one"), world.state("two")
    _, tunnel, session = world.open(one), world.open(one), world.open(two)
    tunnel.kind, session.kind = "websocket", "tcp"
    world.give_back(world.open(one))
    two.count(1)  # An attempt.
    nobody = {"sessions": 0, "websocket": 0, "tcp": 0, "cut": 0}
    assert world.states.left(removed) == nobody
    world.states.swap({})  # Nobody has followed yet.
    assert world.states.left(removed) == {"sessions": 4, "websocket": 1, "tcp": 1, "cut": 0}
    assert world.states.left(removed[:1]) == {"sessions": 2, "websocket": 1, "tcp": 0, "cut": 0}
    assert world.states.cut("api", "one", HERE) == 2
    assert world.states.left(removed) == {"sessions": 2, "websocket": 0, "tcp": 1, "cut": 2}
    discard(session)
    two.count(-1)
    assert world.states.left(removed) == {**nobody, "cut": 2}
    assert world.states.left([("api", "one", THERE)]) == nobody


async def test_of_many_that_were_cut_the_last_are_remembered(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_states, "CUTS_REMEMBERED", 3)
    for name in ("a", "b", "c", "d", "b"):
        world.swap(backend(name))
        world.open(world.state(name))
        assert world.states.cut("api", name, HERE) == 1
    assert [world.states.left([("api", name, HERE)])["cut"] for name in "abcd"] == [0, 2, 1, 1]


async def test_a_request_of_an_older_table_may_use_it_again(world: World) -> None:
    world.swap(backend())
    one = world.state()
    world.swap()
    late = world.open(one)
    assert world.states.cut("api", "one", HERE) == 1
    discard(late)
    assert world.told == [(EMPTIED, "api", "one", HERE)] * 2


async def test_all_that_were_removed_under_one_name_are_cut(world: World) -> None:
    """A request that began with the first Table connects late, when its backend has come anew."""
    world.swap(backend())
    first = world.state()
    world.swap()
    world.swap(backend())
    second = world.state()
    assert second is not first
    connections = [world.open(first), world.open(second)]
    world.swap()
    connections.append(world.open(first))
    world.told.clear()
    assert world.states.cut("api", "one", HERE) == 3
    assert not any(map(is_open, connections))
    assert world.told == [(EMPTIED, "api", "one", HERE)], "when nothing is left of either"
    for connection in connections:
        discard(connection)
    assert (first.connections, second.connections) == (0, 0)


async def test_of_several_that_were_removed_under_one_name_the_last_comes_back(world: World) -> None:
    world.swap(backend())
    first = world.state()
    world.swap()
    world.swap(backend())
    second = world.state()
    old, new = world.open(first), world.open(second)
    world.swap()
    world.swap(backend())
    assert world.state() is second
    assert world.states.cut("api", "one", HERE) == 2
    assert (is_open(old), is_open(new), first.is_cut, second.is_cut) == (False, False, True, False)


def test_sweep_closes_what_was_idle_too_long_or_has_died(world: World) -> None:
    world.swap(backend("one"), backend("two", backup=True))
    one, two = world.state("one"), world.state("two")
    old, dead, young = (world.open(one) for _ in range(3))
    backup = world.open(two)
    for connection, since in ((old, 0.0), (dead, 20.0), (young, 20.0), (backup, 0.0)):
        world.give_back(connection, since)
    world.leave(dead)
    assert list(world.states.sweep(31)) == []
    assert [is_open(each) for each in (old, dead, young, backup)] == [False, False, True, False]
    assert world.states.close_idle() == 1
    assert not is_open(young)
    world.give_back(world.open(two), 40)
    assert list(world.states.sweep(80)) == []
    assert two.idle == [], "it was swept again although it had nothing once"


def test_sweep_without_a_limit(world: World) -> None:
    world.swap(backend(), api=replace(API, idle_timeout=0))
    old = world.open(world.state())
    world.give_back(old)
    list(world.states.sweep(1e9))
    assert is_open(old)


def test_sweep_comes_in_slices(world: World) -> None:
    """Of as many backends as there are in a slice by half, with one connection each; more may come meanwhile."""
    count = SWEPT + SWEPT // 2
    world.swap(*[backend(str(number)) for number in range(count)])
    states = list(world.states.clusters["api"])
    pair = world.open(states[0])
    for state in states:
        connection = Connection(state, pair.stream)
        state.idle.append(connection)
        state.shared.pooled[state] = None
    slices = 0
    for _ in world.states.sweep(31):
        slices += 1
        world.give_back(world.open(states[0]), 31)
    assert slices == 2 * count // SWEPT
    for state in states:
        state.idle.clear()


def test_backends_are_described(world: World) -> None:
    other = Backend(cluster_id="other", backend_id="x", address=Address("::1", 9))
    world.swap_to({**entries(backend(), backend("two", backup=True)), "other": ClusterEntry(API, (other,))})
    one = world.state()
    world.give_back(world.open(one))
    world.open(one)
    one.back_off.fail(10, lambda: 0.0)
    one.back_off.until = 11.23456
    described = list(world.states.describe("api", 10.0))
    assert described[0] == {
        "cluster": "api",
        "backend_id": "one",
        "address": "127.0.0.1:1",
        "connections": 2,
        "requests": 1,
        "idle": 1,
        "failures": 1,
        "retry_in": 1.235,
    }
    assert [each["backend_id"] for each in world.states.describe(None, 10.0)] == ["one", "two", "x"]
    assert next(world.states.describe("other", 10.0))["address"] == "[::1]:9"
    assert next(world.states.describe("api", 12.0))["retry_in"] == 0
    assert list(world.states.describe("unknown", 10.0)) == []
    assert math.isfinite(described[1]["retry_in"])


def test_what_is_known_of_failures_is_learned_and_told_nobody(world: World) -> None:
    world.swap(backend("one"), backend("two", address=THERE))
    one, two = world.state("one"), world.state("two")
    one.back_off.failures, one.back_off.until = 7, 110.0
    two.back_off.failures, two.back_off.until = 2, 90.0
    failing = list(world.states.failing(100.0))
    assert [(each.backend_id, each.failures, each.seconds) for each in failing] == [("one", 7, 10.0), ("two", 2, 0.0)]
    successor = World()
    successor.swap(backend("one"), backend("two", address=Address("127.0.0.1", 3)))
    for _ in successor.states.learn(failing, 500.0):
        pass
    assert (successor.state("one").back_off.failures, successor.state("one").back_off.until) == (7, 510.0)
    assert successor.state("two").back_off.failures == 0
    assert not successor.told


def test_a_cluster_is_looked_through_once_for_all_that_fail_in_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.swap(*(backend(f"b{number}") for number in range(1200)))
    for state in world.states.find("api") or ():
        state.back_off.failures, state.back_off.until = 3, 110.0
    failing = list(world.states.failing(100.0))
    successor = World()
    successor.swap(*(backend(f"b{number}") for number in range(1200)))
    found: list[str] = []
    find = successor.states.find

    def count(cluster_id: str) -> ClusterState | None:
        found.append(cluster_id)
        return find(cluster_id)

    monkeypatch.setattr(successor.states, "find", count)
    assert len(list(successor.states.learn(failing, 500.0))) == 3
    assert found == ["api"]
    assert {state.back_off.until for state in find("api") or ()} == {510.0}
