"""The stream that both sides can make, and bytes that differ from it."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.upgrade_drill.known_bytes import BLOCK, Comparison, KnownBytes


@given(st.lists(st.integers(0, 2 * BLOCK), max_size=10))
def test_pieces_do_not_matter(sizes: list[int]) -> None:
    known = KnownBytes("seed")
    assert b"".join(known.take(size) for size in sizes) == KnownBytes("seed").take(sum(sizes))


def test_no_part_is_like_another() -> None:
    stream = KnownBytes("seed").take(4 * BLOCK)
    assert len({stream[at : at + 1024] for at in range(0, len(stream), 1024)}) == 64
    assert KnownBytes("another").take(BLOCK) != stream[:BLOCK]


@given(st.lists(st.integers(0, 3 * BLOCK), max_size=5))
def test_right(cuts: list[int]) -> None:
    stream, comparison = KnownBytes("seed").take(3 * BLOCK), Comparison("seed")
    edges = [0, *sorted(cuts), len(stream)]
    for begin, end in itertools.pairwise(edges):
        comparison.feed(stream[begin:end])
    assert (comparison.received, comparison.wrong) == (len(stream), 0)


@given(st.integers(0, 3 * BLOCK - 1), st.integers(1, 255))
def test_a_wrong_byte(at: int, difference: int) -> None:
    stream, comparison = bytearray(KnownBytes("seed").take(3 * BLOCK)), Comparison("seed")
    stream[at] ^= difference
    comparison.feed(bytes(stream[: 2 * BLOCK]))
    comparison.feed(bytes(stream[2 * BLOCK :]))
    assert comparison.wrong == 1


def test_a_byte_left_out() -> None:
    stream, comparison = KnownBytes("seed").take(BLOCK), Comparison("seed")
    comparison.feed(stream[:100] + stream[101:])
    assert comparison.wrong > BLOCK / 2
