"""Work in slices: what comes of it is the same, however often it stops on the way."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.routing.slices import BATCH, SLICE, Pace, Sliced, batches, finish


def spending(costs: list[int], pace: Pace) -> Sliced[int]:
    """Work of these costs; returns their sum."""
    done = 0
    for cost in costs:
        done += cost
        if pace.spend(cost):
            yield
    return done


@given(st.lists(st.integers(0, 3 * SLICE), max_size=50))
def test_no_slice_is_longer_than_a_slice_and_its_last_piece(costs: list[int]) -> None:
    pace, since, slices = Pace(), 0, []
    for cost in costs:
        since += cost
        assert pace.spend(cost) == (since >= SLICE)
        if since >= SLICE:
            slices.append(since)
            since = 0
    assert all(SLICE <= spent < SLICE + max(costs) for spent in slices if max(costs))


@given(st.lists(st.integers(0, 3 * SLICE), max_size=50))
def test_all_of_it_in_one_go(costs: list[int]) -> None:
    assert finish(spending(costs, Pace())) == sum(costs)


def test_a_count_is_shared_by_all_parts_of_the_work() -> None:
    pace = Pace()
    parts = [spending([SLICE - 1], pace), spending([1], pace), spending([SLICE - 1], pace)]
    assert [len(list(part)) for part in parts] == [0, 1, 0]


def test_nothing_to_do() -> None:
    assert finish(spending([], Pace())) == 0


def test_what_goes_wrong_on_the_way_is_raised() -> None:
    def work() -> Sliced[None]:
        yield
        raise ValueError("here")

    with pytest.raises(ValueError, match="here"):
        finish(work())


@pytest.mark.parametrize("count", [0, 1, BATCH - 1, BATCH, BATCH + 1, 2 * BATCH, 5 * BATCH + 3])
def test_batches_are_full_but_the_last_and_lose_nothing(count: int) -> None:
    found = list(batches(range(count)))
    assert [each for batch in found for each in batch] == list(range(count))
    assert [len(batch) for batch in found[:-1]] == [BATCH] * (len(found) - 1)
    assert all(found), "none is empty"


def test_no_more_is_read_than_is_asked_for() -> None:
    read: list[int] = []

    def records() -> Iterator[int]:
        for number in range(3 * BATCH):
            read.append(number)
            yield number

    next(iter(batches(records())))
    assert len(read) == BATCH
