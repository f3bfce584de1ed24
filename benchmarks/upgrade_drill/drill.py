"""One drill: clients begin, the proxy is upgraded again and again, clients end; then what is left is counted."""

import contextlib
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import trio

from benchmarks.upgrade_drill import wrk
from benchmarks.upgrade_drill.crowd import Crowd, at_work
from benchmarks.upgrade_drill.stage import Stage
from benchmarks.upgrade_drill.tally import Tally
from benchmarks.upgrade_drill.upgrading import UpgradeFailed, Upgrader
from benchmarks.upgrade_drill.watching import Sample, Watch

WARM_UP = 3
"""Seconds of traffic before anything is compared with."""
SETTLE = 3
"""Seconds of traffic after the last upgrade."""
PAUSE = 1
"""Seconds between two upgrades."""
LEAVING = 20
"""Seconds that processes may take to end when nobody is connected any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is to be done: so many upgrades by `upgrader`; where it is None, none, for as many `seconds`."""

    upgrader: Upgrader | None
    upgrades: int
    seconds: float
    load: bool
    """Whether wrk is among the clients."""
    rate: float | None = None
    """Requests a second of wrk; None = as many as get answered."""


@dataclass(slots=True)
class Outcome:
    """What came of it."""

    tally: Tally
    times: list[float] = field(default_factory=list)
    """Seconds, of each upgrade that was done."""
    seconds: float = 0
    """Of all of them, with the pauses."""
    trouble: list[str] = field(default_factory=list)
    """Why an upgrade was not."""
    before: Sample | None = None
    after: Sample | None = None
    """Under the same load as before."""
    peak: int = 0
    """Bytes of memory."""
    most_workers: int = 0
    away: float = 0
    """Seconds."""
    left_behind: list[int] = field(default_factory=list)
    """Process ids."""
    answer: Any = None
    """What ctl said of the last upgrade."""
    loaded: wrk.Loaded | None = None


async def drill(stage: Stage, crowd: Crowd, plan: Plan) -> Outcome:
    """Raises ControlError where the proxy is not there, ProcessTrouble where wrk fails."""
    outcome = Outcome(Tally())
    watch = Watch(stage.socket)
    async with trio.open_nursery() as nursery:
        await nursery.start(watch.run)
        async with at_work(crowd, outcome.tally), wrk_at_work(stage, plan, outcome):
            await warm_up(crowd, outcome.tally)
            watch.begin()
            outcome.before = await watch.sample()
            began = trio.current_time()
            await upgrades(plan, outcome)
            outcome.seconds = trio.current_time() - began
            await trio.sleep(SETTLE)
            outcome.after = await watch.sample()
        alone = stage.folder is not None
        with trio.move_on_after(LEAVING):
            while watch.left_behind(draining=alone):
                await trio.sleep(0.1)
        outcome.left_behind = watch.left_behind(draining=alone)
        nursery.cancel_scope.cancel(reason="the drill is over")
    outcome.peak, outcome.most_workers, outcome.away = watch.peak, watch.most_workers, watch.away
    return outcome


async def warm_up(crowd: Crowd, tally: Tally) -> None:
    """Until every client is at work, and some seconds at least."""
    say(f"warming up for {WARM_UP} s")
    await trio.sleep(WARM_UP)
    while tally.sessions < crowd.sessions:  # each is there, or has failed, within the patience of its client
        await trio.sleep(0.1)
    tally.begin()


@contextlib.asynccontextmanager
async def wrk_at_work(stage: Stage, plan: Plan, outcome: Outcome) -> AsyncIterator[None]:
    """wrk, if it is wanted, while the body runs; then the tally has what it saw."""
    if not plan.load or stage.folder is None:
        yield
        return
    with wrk.running(stage.pages[0], stage.folder, plan.rate) as load:
        yield
        outcome.loaded = await trio.to_thread.run_sync(load.stop)
        outcome.loaded.add_to(outcome.tally)


async def upgrades(plan: Plan, outcome: Outcome) -> None:
    """All of them, one after the other, until one fails."""
    if plan.upgrader is None:
        say(f"no upgrade: {plan.seconds:.0f} s of traffic")
        await trio.sleep(plan.seconds)
        return
    for number in range(1, plan.upgrades + 1):
        began = trio.current_time()
        try:
            outcome.answer = await plan.upgrader.upgrade()
        except UpgradeFailed as error:
            outcome.trouble.append(f"upgrade {number} failed: {error}")
            say(outcome.trouble[-1])
            return
        outcome.times.append(trio.current_time() - began)
        seen = outcome.tally
        say(
            f"upgrade {number} of {plan.upgrades}: {outcome.times[-1]:.1f} s; without those of wrk so far"
            f" {seen.requests:,} requests, {seen.failures} failures, {seen.closed} closed, {seen.cut} sessions cut"
        )
        await trio.sleep(PAUSE)


def say(text: str) -> None:
    """Progress."""
    print(text, file=sys.stderr, flush=True)
