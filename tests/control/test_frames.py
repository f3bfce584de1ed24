"""Lines out of a stream: the same ones however it is cut, and none held that is too long."""

import tracemalloc

from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.control.frames import Lines

LIMIT = 8


def lines_of(stream: bytes) -> list[bytes | None]:
    """What must come out."""
    *ended, rest = stream.split(b"\n")
    return [line if len(line) <= LIMIT else None for line in ended] + [None] * (len(rest) > LIMIT)


@given(st.lists(st.text(alphabet="ab\n", max_size=20).map(str.encode), max_size=12))
def test_cuts(pieces: list[bytes]) -> None:
    lines = Lines(LIMIT)
    stream = b"".join(pieces)
    assert [line for piece in pieces for line in lines.feed(piece)] == lines_of(stream)
    assert lines.unfinished == (stream.rpartition(b"\n")[2] != b"")


def test_a_line_that_is_too_long_is_told_at_once_and_the_next_one_is_read() -> None:
    lines = Lines(LIMIT)
    assert lines.feed(b"x" * LIMIT) == []
    assert lines.feed(b"x") == [None]
    assert lines.feed(b"x" * 100) == []
    assert lines.unfinished
    assert lines.feed(b"x\nnext\n") == [b"next"]
    assert not lines.unfinished


def test_nothing_is_kept_of_a_line_that_is_too_long() -> None:
    lines = Lines(LIMIT)
    piece = b"x" * 100_000
    tracemalloc.start()
    try:
        for _ in range(100):
            lines.feed(piece)
        assert tracemalloc.get_traced_memory()[0] < 10_000
    finally:
        tracemalloc.stop()
