"""How long a change keeps the worker's loop to itself: the longest time is kept for whoever asks
(`configuration.longest_hold_us`).
"""

import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import TypeVar

import trio

from sozu_trio.telemetry.counters import Counters

T = TypeVar("T")


@contextmanager
def measured(counters: Counters, since: float | None = None) -> Iterator[None]:
    """The body holds the loop, and what went before it `since` then (seconds of `time.perf_counter`)."""
    began = time.perf_counter() if since is None else since
    try:
        yield
    finally:
        held = int((time.perf_counter() - began) * 1e6)
        counters.longest_hold = max(counters.longest_hold, held)


async def in_slices(work: Generator[None, None, T], counters: Counters) -> T:
    """What `work` returns; others run after each of its slices, and each is measured."""
    while True:
        with measured(counters):
            try:
                next(work)
            except StopIteration as done:
                result: T = done.value
                return result
        await trio.lowlevel.checkpoint()
