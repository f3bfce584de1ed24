"""A tally: the same numbers for all, whoever has counted them."""

import hypothesis.strategies as st
from hypothesis import given

from sozu_trio.nursery.regions import Regions
from sozu_trio.nursery.tally import BUCKET, SLOTS, Tally, buckets_of
from tests.nursery.counting import alone

WORKERS = 3


def tallies() -> list[Tally]:
    regions = Regions()
    try:
        return [Tally(regions.fileno(), regions.give(1)) for _ in range(WORKERS)]
    finally:
        regions.close()


@given(
    st.lists(st.tuples(st.integers(0, WORKERS - 1), st.integers(0, 4), st.booleans()), max_size=60), st.integers(0, 5)
)
def test_what_all_have_taken_is_known_to_all(steps: list[tuple[int, int, bool]], limit: int) -> None:
    workers = tallies()
    held: list[tuple[int, int]] = []
    for worker, what, comes in steps:
        key = workers[worker].key(bytes([what]))
        if comes:
            room = sum(each == key for _, each in held) < limit
            assert workers[worker].take(key, limit) is room
            held += [(worker, key)] * room
        elif (worker, key) in held:
            workers[worker].give(key)
            held.remove((worker, key))
        for each in workers:
            assert each.total(key) == sum(other == key for _, other in held)
    assert sum(map(len, workers)) == len(set(held))


def test_a_key_is_the_same_everywhere_and_tells_what_it_is_made_of_apart() -> None:
    one, other, _ = tallies()
    assert one.key(b"a", b"bc") == other.key(b"a", b"bc")
    assert one.key(b"a", b"bc") != one.key(b"ab", b"c")
    assert alone().key(b"a") != one.key(b"a")


def test_many_find_room_and_who_finds_none_is_not_counted() -> None:
    tally = alone()
    keys = [tally.key(number.to_bytes(4)) for number in range(SLOTS)]
    first = next(number for number, key in enumerate(keys) if not tally.add(key))
    assert first > SLOTS / 2
    assert (tally.overflows, len(tally)) == (1, first)
    assert tally.total(keys[first]) == 0
    assert not tally.take(keys[first], 10)
    for key in keys[:first]:
        assert tally.total(key) == 1
        tally.give(key)
    assert len(tally) == 0
    assert tally.take(keys[first], 10)


def test_a_key_may_be_in_two_buckets_that_are_whole() -> None:
    for number in range(1000):
        for first in buckets_of(alone().key(number.to_bytes(4)) if number < 3 else number << 20 | number):
            assert first % BUCKET == 0
            assert 0 <= first <= SLOTS - BUCKET


def test_what_is_forgotten_counts_for_nothing() -> None:
    one, other, _ = tallies()
    key = one.key(b"apple")
    one.add(key, 5)
    one.forget(key)
    one.forget(key)
    assert other.total(key) == 0
