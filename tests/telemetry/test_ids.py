"""ULIDs ascend, are unique and tell their time."""

import os
import time
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.telemetry.ids import ALPHABET, IdSource, milliseconds_of


def number(ulid: str) -> int:
    value = 0
    for character in ulid:
        value = value * 32 + ALPHABET.index(character)
    return value


def test_time_and_random_bytes_are_all_there_is_to_it() -> None:
    source = IdSource(lambda: 1469918176.385, lambda count: bytes(range(count)))
    first = source.next()
    assert first.startswith("01ARYZ6S41")  # the example of the ULID specification
    assert number(first) == (1469918176385 << 80) | int.from_bytes(bytes(range(10)))
    assert number(source.next()) == number(first) + 1


@given(st.lists(st.integers(0, 2**47), min_size=1, max_size=50), st.randoms(use_true_random=False))
@settings(max_examples=100)
def test_ids_ascend_whatever_the_clock_does(clock: list[int], random: Random) -> None:
    times = iter(clock)
    source = IdSource(lambda: next(times) / 1000, random.randbytes)
    ids = [source.next() for _ in clock]
    assert sorted(set(ids)) == ids
    assert all(len(ulid) == 26 and set(ulid) <= set(ALPHABET) for ulid in ids)
    assert milliseconds_of(ids[0]) == int(clock[0] / 1000 * 1000)


@given(st.lists(st.integers(-50, 1500), min_size=1, max_size=50), st.integers(0, 2**41), st.randoms())
@settings(max_examples=200)
def test_each_tells_its_time_while_the_clock_goes_on(steps: list[int], millisecond: int, random: Random) -> None:
    """By small steps, also back: what is kept of the one before is of the right time."""
    asked = 0

    def random_bytes(count: int) -> bytes:
        nonlocal asked
        asked += 1
        return random.randbytes(count)

    latest, turns, before = millisecond, {millisecond >> 10}, ""
    source = IdSource(lambda: (millisecond + 0.5) / 1000, random_bytes)
    for step in [0, *steps]:
        millisecond = max(0, millisecond + step)
        latest = max(latest, millisecond)
        turns.add(latest >> 10)
        ulid = source.next()
        assert milliseconds_of(ulid) == latest
        assert ulid > before
        before = ulid
    assert asked == len(turns)


@pytest.mark.parametrize(
    "random",
    [
        b"\x00" * 7 + b"\x0f\xff\xff",  # the counting bits are full at once
        b"\xff" * 10,  # so are all random bits: the next one is a millisecond later
    ],
)
def test_counting_carries(random: bytes) -> None:
    source = IdSource(lambda: 1.0, lambda _: random)
    ids = [source.next() for _ in range(5)]
    assert [number(ulid) - number(ids[0]) for ulid in ids] == [0, 1, 2, 3, 4]


def test_after_a_carry_into_the_time_the_clock_catches_up() -> None:
    now = 1.0
    source = IdSource(lambda: now, lambda _: b"\xff" * 10)
    first, second = source.next(), source.next()
    now = 1.001
    third = source.next()
    now = 1.002
    fourth = source.next()
    assert [milliseconds_of(ulid) for ulid in (first, second, third, fourth)] == [1000, 1001, 1001, 1002]
    assert sorted({first, second, third, fourth}) == [first, second, third, fourth]


def test_real_ones() -> None:
    source = IdSource(time.time, os.urandom)
    before = int(time.time() * 1000)
    ids = [source.next() for _ in range(10_000)]
    assert len(set(ids)) == 10_000
    assert sorted(ids) == ids
    assert before <= milliseconds_of(ids[0]) <= milliseconds_of(ids[-1]) <= int(time.time() * 1000)


def test_a_foreign_character_is_an_error() -> None:
    with pytest.raises(ValueError, match="substring not found"):
        milliseconds_of("01ARYZ6SU1TTTTTTTTTTTTTTTT")
