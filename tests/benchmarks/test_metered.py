"""A meter on a loop sees who holds it, and what the garbage collector does."""

import io
import time

import trio

from benchmarks.metered import WORTH_TELLING, Meter


async def _hold() -> None:
    end = time.thread_time() + 2 * WORTH_TELLING
    while time.thread_time() < end:
        pass


def test_who_holds_the_loop_is_told_and_who_waits_is_not() -> None:
    told = io.StringIO()

    async def both() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_hold, name="holder")
            nursery.start_soon(trio.sleep, 5 * WORTH_TELLING, name="sleeper")

    before = time.monotonic()
    trio.run(both, instruments=[Meter(told)])
    lines = [line.split(" ", 3) for line in told.getvalue().splitlines()]
    (at, wall, cpu) = next(map(float, line[:3]) for line in lines if line[3] == "holder")
    assert before < at < time.monotonic()
    assert min(wall, cpu) > WORTH_TELLING


def test_collections_are_told() -> None:
    told = io.StringIO()
    meter = Meter(told)
    meter.collects("start", {"generation": 2})
    time.sleep(2 * WORTH_TELLING)
    meter.collects("stop", {"generation": 2})
    assert told.getvalue().endswith(" garbage collection 2\n")
