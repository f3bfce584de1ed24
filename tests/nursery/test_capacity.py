"""Capacity: exactly as many as there may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.config.program import Settings
from sozu_trio.nursery.capacity import Capacity
from sozu_trio.nursery.regions import Regions
from sozu_trio.nursery.tally import Tally
from tests.nursery.counting import alone


@given(st.integers(0, 5), st.lists(st.booleans(), max_size=40))
def test_never_more_than_the_limit_and_never_fewer_than_possible(limit: int, wishes: list[bool]) -> None:
    capacity, inside = Capacity(alone(), Settings(max_connections=limit)), 0
    for comes in wishes:
        if comes:
            let_in = capacity.take()
            assert let_in is (inside < limit)
            inside += let_in
        elif inside:
            capacity.give()
            inside -= 1
        assert capacity.taken == inside


def test_a_place_that_nobody_took_cannot_be_given_back() -> None:
    with pytest.raises(AssertionError):
        Capacity(alone(), Settings(max_connections=1)).give()


def test_whoever_was_let_in_once_gets_a_place_beyond_the_limit() -> None:
    capacity = Capacity(alone(), Settings(max_connections=1))
    capacity.take_beyond()
    capacity.take_beyond()
    assert (capacity.taken, capacity.take()) == (2, False)
    capacity.give()
    assert not capacity.take()
    capacity.give()
    assert capacity.take()


def test_all_workers_together_have_a_limit_too() -> None:
    regions = Regions()
    settings = Settings(max_connections=3, max_connections_total=4)
    one, other = (Capacity(Tally(regions.descriptors, regions.give(1)), settings) for _ in range(2))
    regions.close()
    assert [one.take() for _ in range(4)] == [True, True, True, False]
    assert [other.take() for _ in range(2)] == [True, False]
    one.give()
    assert [other.take() for _ in range(2)] == [True, False]
    other.follow(Settings(max_connections=3))
    assert [other.take() for _ in range(2)] == [True, False]
    one.follow(Settings(max_connections=1))
    assert not one.take()


@given(st.lists(st.sampled_from(["come", "go", "evicted go"]), max_size=60), st.integers(1, 5), st.integers(0, 3))
def test_evicting_never_lets_in_more_than_leave(steps: list[str], limit: int, found: int) -> None:
    """`staying` are those who have not been told to go: never more than the limit, and all is given back."""
    capacity = Capacity(alone(), Settings(max_connections=limit, evict_on_queue_full=True))
    staying = leaving = 0

    def evict(most: int) -> int:
        nonlocal staying, leaving
        told = min(most, found, staying)
        staying, leaving = staying - told, leaving + told
        return told

    for step in steps:
        if step == "come":
            let_in = capacity.take() or capacity.take_from(evict)
            staying += let_in
        elif step == "go" and staying:
            capacity.give()
            staying -= 1
        elif step == "evicted go" and leaving:
            capacity.give()
            leaving -= 1
        assert capacity.taken == staying + leaving
        assert staying <= limit
    for _ in range(staying + leaving):
        capacity.give()
    assert capacity.taken == 0
    assert [capacity.take() for _ in range(limit + 1)] == [True] * limit + [False]
