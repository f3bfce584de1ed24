"""How long the loop is held: the longest time counts, and others run between two slices."""

import time
from collections.abc import Generator

import pytest
import trio

from sozu_trio.nursery.holding import in_slices, measured
from sozu_trio.telemetry.counters import Counters

pytestmark = pytest.mark.virtual_time


def test_the_longest_hold_stays() -> None:
    counters = Counters()
    began = time.perf_counter()
    with measured(counters, began - 0.5):
        pass
    longest = counters.longest_hold
    assert 500_000 <= longest <= 500_000 + (time.perf_counter() - began) * 1e6
    with measured(counters):
        pass
    assert counters.longest_hold == longest


def test_what_failed_held_it_as_well() -> None:
    counters = Counters()
    with pytest.raises(KeyError), measured(counters, time.perf_counter() - 0.5):
        raise KeyError
    assert counters.longest_hold >= 500_000


async def test_others_run_after_each_slice() -> None:
    order: list[str] = []

    def work() -> Generator[None, None, str]:
        for number in range(3):
            order.append(f"slice {number}")
            yield
        return "done"

    async def run_too() -> None:
        while True:
            order.append("other")
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_too)
        await trio.lowlevel.checkpoint()
        assert await in_slices(work(), Counters()) == "done"
        nursery.cancel_scope.cancel()
    assert order[: order.index("slice 2")].count("other") >= 2, "Trio has everybody run once in each turn"


async def test_what_fails_in_a_slice_fails() -> None:
    def work() -> Generator[None, None, None]:
        yield
        raise ValueError("no such thing")

    with pytest.raises(ValueError, match="no such thing"):
        await in_slices(work(), Counters())
