"""When memory is given back: once, when most of a crowd has gone."""

from pathlib import Path

import pytest

from sozu_trio.nursery.memory import trim
from sozu_trio.proxy.trimming import CROWD, Trimming

MEBIBYTE = 1 << 20


@pytest.mark.parametrize(
    ("seen", "times"),
    [
        ([], 0),
        ([CROWD - 1, 0], 0),
        ([CROWD, 0], 1),
        ([CROWD, 0, 0, 0], 1),
        ([CROWD, CROWD // 2, CROWD], 0),
        ([CROWD, 0, CROWD, 0], 2),
        ([1000, 499, 400, 300, 250, 249, 248], 2),
    ],
)
def test_once_when_most_of_a_crowd_has_gone(seen: list[int], times: int) -> None:
    released: list[None] = []
    trimming = Trimming(lambda: released.append(None))
    for sessions in seen:
        trimming.look(sessions)
    assert len(released) == times


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_what_was_freed_among_what_lives_is_given_back() -> None:
    """Pieces below the size that the allocator maps alone, every other one of them freed."""
    pieces = [bytearray(60_000) for _ in range(2000)]
    before = resident()
    for number in range(0, len(pieces), 2):
        pieces[number] = bytearray()
    trim()
    assert before - resident() > 40 * MEBIBYTE
