"""A worker with too much to do, without doing anything."""

from sozu_trio.nursery.overload import WINDOW, WINDOWS, Overload

LIMIT = 0.01
"""Seconds of lag that are allowed."""


def overwhelm(overload: Overload, begun: float = 1000.0) -> float:
    """Have passes be so long, for so long, that it is overloaded; returns when that is. The last one is as long as is
    allowed.
    """
    overload.limit = LIMIT
    now = begun
    overload.look(now)
    for _ in range(WINDOWS):
        overload.passed(4 * LIMIT)
        now += max(WINDOW, 4 * LIMIT)
        overload.look(now)
    assert overload.is_on
    overload.passed(LIMIT)
    return now
