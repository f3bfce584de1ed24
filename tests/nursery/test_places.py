"""Places of client addresses: as many as there may be, and none is left behind."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.clusters import Cluster
from sozu_trio.config.program import Settings
from sozu_trio.nursery.places import PROXY, Held, Places, source_of
from sozu_trio.nursery.regions import Regions
from sozu_trio.nursery.tally import SLOTS, Tally
from tests.nursery.counting import alone

API, DB = Cluster(cluster_id="api"), Cluster(cluster_id="db")
ANN, BOB = "192.0.2.1", "2001:db8::1"


def with_limit(limit: int) -> Places:
    return Places(alone(), Settings(max_connections_per_ip=limit, max_connections_per_source=limit))


def test_so_many_of_one_address_in_each_cluster() -> None:
    places = with_limit(2)
    connections: list[Held] = [{} for _ in range(4)]
    assert [places.enter(held, API, ANN) for held in connections] == [True, True, False, False]
    assert [places.enter(held, DB, ANN) for held in connections] == [True, True, False, False]
    assert places.enter(connections[2], API, BOB)
    assert places.enter(connections[0], API, ANN), "it has its place"
    places.leave(connections[1])
    assert connections[1] == {}
    assert [places.enter(held, API, ANN) for held in connections[2:]] == [True, True]


@pytest.mark.parametrize(("own", "most"), [(None, 2), (1, 1), (3, 3), (0, 9)])
def test_a_cluster_may_say_otherwise(own: int | None, most: int) -> None:
    places, cluster = with_limit(2), Cluster(cluster_id="own", max_connections_per_ip=own)
    assert sum(places.enter({}, cluster, ANN) for _ in range(9)) == most


def test_so_many_of_one_address_in_the_proxy() -> None:
    places = with_limit(2)
    one: Held = {}
    assert places.arrive(one, ANN)
    assert places.arrive(one, ANN), "it is the same connection"
    assert [places.arrive({}, ANN), places.arrive({}, ANN), places.arrive({}, BOB)] == [True, False, True]
    places.leave(one)
    assert places.arrive(one, ANN)
    assert list(one) == [PROXY]


def test_without_a_limit_nothing_is_counted() -> None:
    tally = alone()
    places, held = Places(tally, Settings()), Held()
    assert places.arrive(held, ANN)
    assert places.enter(held, API, ANN)
    assert (held, len(tally)) == ({}, 0)
    places.follow(Settings(max_connections_per_ip=1))
    assert [places.enter(held, API, ANN), places.enter({}, API, ANN)] == [True, False]
    places.follow(Settings())
    assert places.enter({}, API, ANN)
    places.leave(held)
    assert len(tally) == 0


def test_all_workers_count_together_and_places_move_along() -> None:
    regions = Regions()
    settings = Settings(max_connections_per_ip=2)
    old, new = (Places(Tally(regions.descriptors, regions.give(1)), settings) for _ in range(2))
    regions.close()
    first, second = Held(), Held()
    assert [old.enter(first, API, ANN), new.enter(second, API, ANN)] == [True, True]
    assert [old.enter({}, API, ANN), new.enter({}, API, ANN)] == [False, False]
    new.follow(Settings(max_connections_per_ip=1))
    moved = new.go_on(first)
    assert moved == first
    old.leave(first)
    new.leave(second)
    assert [old.enter({}, API, ANN), old.enter({}, API, ANN)] == [True, False]
    new.leave(moved)
    assert old.enter({}, API, ANN)


def test_where_there_is_no_room_to_count_nobody_gets_in_and_nothing_is_given_back() -> None:
    tally = alone()
    for number in range(2 * SLOTS):
        tally.add(tally.key(number.to_bytes(8)))
    places, held = Places(tally, Settings(max_connections_per_ip=1)), Held()
    counted = len(tally)
    came = [f"10.0.{each // 256}.{each % 256}" for each in range(1000)]
    assert not all(places.enter({}, API, host) for host in came)
    keys = {str(each): tally.key(each.to_bytes(7)) for each in range(1000)}
    held = places.go_on(keys)
    assert len(held) < len(keys)
    places.leave(held)
    assert len(tally) >= counted


@settings(deadline=None)
@given(
    st.integers(0, 3),
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["api", "db", "proxy", "leave", "move"]), st.integers(0, 2)),
        max_size=60,
    ),
)
def test_nothing_is_left_when_all_have_left(limit: int, steps: list[tuple[int, str, int]]) -> None:
    """Connections of two addresses come, are routed, move and leave, while the limit changes."""
    tally = alone()
    settings = Settings(max_connections_per_ip=limit, max_connections_per_source=limit)
    places = Places(tally, settings)
    connections: list[Held] = [{} for _ in range(4)]
    for number, what, change in steps:
        held, host = connections[number], (ANN, BOB)[number % 2]
        match what:
            case "leave":
                places.leave(held)
            case "move":
                connections[number] = places.go_on(held)
                places.leave(held)
            case "proxy":
                places.arrive(held, host)
            case _:
                places.enter(held, Cluster(cluster_id=what), host)
        if not change:
            places.follow(Settings(max_connections_per_ip=number))
        keys = [key for each in connections for key in each.values()]
        assert {key: tally.total(key) for key in keys} == {key: keys.count(key) for key in keys}
    for held in connections:
        places.leave(held)
    assert len(tally) == 0


def test_what_counts_as_one_address() -> None:
    assert source_of("192.0.2.1") == source_of("::ffff:192.0.2.1") == bytes([192, 0, 2, 1])
    assert source_of("2001:db8::1") == source_of("2001:db8::ffff:2") != source_of("2001:db8:0:1::1")
    assert source_of("fe80::1%eth0") == source_of("fe80::2")
