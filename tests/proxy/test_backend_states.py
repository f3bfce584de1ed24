"""All backends of a worker over all Tables: who stays, who is gone, and what is told of it."""

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster, LoadBalancing, LoadMetric
from sozu_trio.proxy.backend_states import SWEPT
from sozu_trio.proxy.backends import ClusterState, Connection
from sozu_trio.proxy.connect import give_back
from sozu_trio.routing.table import ClusterEntry
from tests.proxy.backend_world import API, EMPTIED, HERE, THERE, World, backend, entries, is_open


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


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
