"""Removed backends of a worker: what they still serve is counted, cut, and used again by whoever may."""

from collections.abc import Iterator

import pytest

from sozu_trio.proxy import backend_states
from sozu_trio.proxy.connect import discard
from tests.proxy.backend_world import EMPTIED, HERE, THERE, World, backend, is_open


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    yield world
    world.close()


async def test_what_has_not_followed_yet_is_cut_as_what_has(world: World) -> None:
    world.swap(backend())
    api, one = world.states.clusters["api"], world.state()
    busy = world.open(one)
    world.states.swap({})
    assert world.states.cut("api", "one", HERE) == 1
    assert world.told == [(EMPTIED, "api", "one", HERE)]
    assert (is_open(busy), one.is_cut, api.choose(1e9, [])) == (False, True, None)


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
