"""When memory is given back: when most of a crowd has gone, a few times more, and from time to time."""

import gc
from pathlib import Path

import pytest

from sozu_trio.nursery.memory import give_back, trim
from sozu_trio.proxy.trimming import AGAIN, CROWD, FEW, REGULARLY, TIMES, Trimming

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
        ([1000, 499, 400, 300, 250, 249, 248], 1),
        ([CROWD, 31] + [31] * (AGAIN - 1), 1),
        ([CROWD, 31] + [31] * AGAIN, 2),
        ([CROWD, 31, 0] + [0] * AGAIN * TIMES * 2, 1 + TIMES),
        ([CROWD] + [CROWD - 1] * AGAIN * TIMES * 2, 0),
        ([1000, 499, 0] + [0] * AGAIN * TIMES * 2, 1 + TIMES),
    ],
)
def test_when_most_of_a_crowd_has_gone_and_a_few_times_more(seen: list[int], times: int) -> None:
    released: list[None] = []
    trimming = Trimming(lambda: released.append(None), lambda: None)
    for sessions in seen:
        trimming.look(sessions)
    assert len(released) == times


def test_while_many_are_left_nothing_looks_at_them() -> None:
    done: list[str] = []
    trimming = Trimming(lambda: done.append("all"), lambda: done.append("part"))
    for sessions in (4 * FEW, FEW + 1, *[FEW + 1] * AGAIN, *[FEW] * AGAIN):
        trimming.look(sessions)
    assert done == ["part", "part", "all"]


@pytest.mark.parametrize("sessions", [0, 10, 4 * FEW])
def test_where_no_crowd_has_left_what_is_free_is_given_back_regularly(sessions: int) -> None:
    done: list[str] = []
    trimming = Trimming(lambda: done.append("all"), lambda: done.append("part"))
    for _ in range(3 * REGULARLY - 1):
        trimming.look(sessions)
    assert done == ["part", "part"]


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


def test_what_is_stored_for_reuse_keeps_nothing() -> None:
    """Python stores freed tuples; here they are of all the arenas that hold nothing else."""
    gc.collect()
    crowd: list[tuple[int, int] | None] = [(number, number) for number in range(600_000)]
    before = resident()
    for number in range(0, len(crowd), 320):
        crowd[number] = None
    crowd.clear()
    give_back()
    assert before - resident() > 40 * MEBIBYTE
