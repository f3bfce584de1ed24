"""Long work in slices: whoever drives it can serve others between two of them.

Pure code sees no clock, so it counts what it does. A unit is about a microsecond; what is one call to C and cannot be
cut (copying a dict, sorting, compiling one regex) counts as what it takes.
"""

from collections.abc import Generator, Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")

Sliced = Generator[None, None, T]
"""Yields after each slice; returns what came of it."""

SLICE = 1000
"""Units of work between two yields."""
BATCH = 500
"""Records looked at in one go, where looking is all that happens."""


class Pace:
    """The count of one piece of work, which all parts of it share."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = SLICE

    def spend(self, units: int) -> bool:
        """Count `units`; whether it is time to yield."""
        self._left -= units
        if self._left > 0:
            return False
        self._left = SLICE
        return True


def finish(work: Sliced[T]) -> T:
    """All of it in one go."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            result: T = done.value
            return result


def batches(records: Iterable[T]) -> Iterator[list[T]]:
    """`records` in lists of at most BATCH."""
    iterator = iter(records)
    while batch := list(islice(iterator, BATCH)):
        yield batch
