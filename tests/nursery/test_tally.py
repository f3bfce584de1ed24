"""A tally: the same numbers for all, whoever has counted them, and whoever writes into what they share."""

import mmap
import os

import hypothesis.strategies as st
import pytest
from hypothesis import given

from sozu_trio.nursery.regions import Regions
from sozu_trio.nursery.tally import BUCKET, CONNECTIONS, MOST, REGION, REGIONS, SLOTS, Tally, buckets_of
from tests.nursery.counting import alone

WORKERS = 3


def tallies() -> list[Tally]:
    regions = Regions()
    try:
        return [Tally(regions.descriptors, regions.give(1)) for _ in range(WORKERS)]
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


@pytest.mark.parametrize("byte", [b"\0", b"\x7f", b"\x80", b"\xff"])
def test_nobody_stops_counting_whatever_is_written_into_what_all_share(byte: bytes) -> None:
    regions = Regions()
    one, other = (Tally(regions.descriptors, regions.give(1)) for _ in range(2))
    keys = [CONNECTIONS, *(one.key(number.to_bytes(4)) for number in range(100))]
    for key in keys:
        one.add(key, 2)
    with mmap.mmap(regions.descriptors[1], 2 * REGION) as shared:
        shared[:] = byte * (2 * REGION)
        for key in keys:
            assert 2 <= one.total(key) <= 2 + MOST
            assert one.add(key)
            one.give(key)
            one.give(key)
            assert other.total(key) == 1, "what it counts next is true again"
    for key in keys:
        one.give(key)
    assert len(one) == 0
    assert one.take(CONNECTIONS, MOST + 1)
    regions.close()


def test_others_count_neither_less_than_nothing_nor_more_than_anybody_can() -> None:
    regions = Regions()
    one, other = (Tally(regions.descriptors, regions.give(1)) for _ in range(2))
    other.add(CONNECTIONS)
    with mmap.mmap(regions.descriptors[1], 2 * REGION) as shared:
        for written, read in ((b"\xff" * 8, 0), (b"\xff" * 7 + b"\x7f", MOST)):
            for slot in range(SLOTS):
                at = REGION + REGION // 2 + 8 * slot
                shared[at : at + 8] = written
            assert one.total(CONNECTIONS) == read
    regions.close()


def test_what_was_never_counted_can_be_given() -> None:
    tally = alone()
    tally.give(CONNECTIONS)
    assert tally.total(CONNECTIONS) == 0


def test_no_other_memory_is_counted_in_and_what_was_counted_stays() -> None:
    regions = Regions()
    tally = Tally(regions.descriptors, regions.give(1))
    tally.add(CONNECTIONS)
    small = os.memfd_create("small")
    directory, counts = regions.descriptors
    for memories, region, why in (
        ([directory], 0, "1 descriptors and region 0"),
        ([directory, counts], REGIONS, f"region {REGIONS}"),
        ([directory, counts], -1, "region -1"),
        ([directory, small], 1, "greater than file size"),
        ([small, counts], 1, "greater than file size"),
        ([counts, directory], 1, "greater than file size"),
    ):
        with pytest.raises(ValueError, match=why):
            tally.move(memories, region)
    tally.add(CONNECTIONS)
    assert Tally(regions.descriptors, regions.give(1)).total(CONNECTIONS) == 2
    os.close(small)
    regions.close()
