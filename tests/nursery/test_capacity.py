"""Capacity: exactly as many as there may be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.nursery.capacity import Capacity


@given(st.integers(0, 5), st.lists(st.booleans(), max_size=40))
def test_never_more_than_the_limit_and_never_fewer_than_possible(limit: int, wishes: list[bool]) -> None:
    capacity, inside = Capacity(limit), 0
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
        Capacity(1).give()


def test_whoever_was_let_in_once_gets_a_place_beyond_the_limit() -> None:
    capacity = Capacity(1)
    capacity.take_beyond()
    capacity.take_beyond()
    assert (capacity.taken, capacity.take()) == (2, False)
    capacity.give()
    assert not capacity.take()
    capacity.give()
    assert capacity.take()
