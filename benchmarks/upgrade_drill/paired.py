"""Rounds with upgrades and rounds without, in turn, at half the load one worker can take: what upgrades cost in time.

A round without lasts as long as the one with upgrades before it, so that what else the machine does hits both.
"""

import dataclasses
import json
from dataclasses import dataclass, field

import trio

from benchmarks.processes import ProcessTrouble
from benchmarks.upgrade_drill import wrk
from benchmarks.upgrade_drill.crowd import Crowd
from benchmarks.upgrade_drill.drill import Outcome, Plan, drill, say
from benchmarks.upgrade_drill.report import milliseconds, problems
from benchmarks.upgrade_drill.stage import Stage

MEASURED = 4
"""Seconds of load from which half is taken."""
BAR = 0.5
"""Seconds the slowest request may take longer with upgrades than without."""


@dataclass(slots=True)
class Pairs:
    """`rate`: requests a second asked for. Slowest requests in seconds, round by round, with upgrades and without."""

    rate: float
    rounds_with: list[Outcome] = field(default_factory=list)
    rounds_without: list[Outcome] = field(default_factory=list)

    @property
    def difference(self) -> float:
        """Seconds that the slowest request of all rounds with upgrades took longer than that of all others."""
        return slowest(self.rounds_with) - slowest(self.rounds_without)


def slowest(rounds: list[Outcome]) -> float:
    """Seconds."""
    return max((outcome.tally.slowest for outcome in rounds), default=0)


async def paired(stage: Stage, crowd: Crowd, plan: Plan, rounds: int) -> Pairs:
    """So many rounds of each. Raises as `drill` does."""
    pairs = Pairs(await capacity(stage) / 2)
    say(f"half of what one worker takes: {pairs.rate:,.0f} requests a second")
    for number in range(1, rounds + 1):
        say(f"round {number} of {rounds}")
        upgraded = await drill(stage, crowd, dataclasses.replace(plan, rate=pairs.rate))
        pairs.rounds_with.append(upgraded)
        quiet = dataclasses.replace(plan, rate=pairs.rate, upgrader=None, seconds=upgraded.seconds)
        pairs.rounds_without.append(await drill(stage, crowd, quiet))
        if upgraded.trouble:
            break
    return pairs


async def capacity(stage: Stage) -> float:
    """Requests a second that wrk gets answered. Raises ProcessTrouble."""
    if stage.folder is None:
        raise ProcessTrouble("a paired run needs a proxy of its own: leave out --config, --socket and --url")
    with wrk.running(stage.pages[0], stage.folder) as load:
        await trio.sleep(MEASURED)
        loaded = await trio.to_thread.run_sync(load.stop)
    return loaded.answers / loaded.seconds


def problems_of(pairs: Pairs) -> list[str]:
    """What was lost in any round, and whether the bar was missed."""
    found = [problem for outcome in (*pairs.rounds_with, *pairs.rounds_without) for problem in problems(outcome)]
    if pairs.difference > BAR:
        found.append(f"with upgrades {milliseconds(pairs.difference)} slower, want at most {milliseconds(BAR)}")
    return found


def table_of(pairs: Pairs) -> list[tuple[str, str]]:
    """The slowest request of each round, and the difference."""
    each = zip(pairs.rounds_with, pairs.rounds_without, strict=True)
    return [
        ("requests a second", f"{pairs.rate:,.0f}"),
        ("slowest request", "with upgrades / without"),
        *((f"  round {number}", times(upgraded, quiet)) for number, (upgraded, quiet) in enumerate(each, 1)),
        ("difference of the slowest", f"{milliseconds(pairs.difference)} (at most {milliseconds(BAR)})"),
    ]


def times(upgraded: Outcome, quiet: Outcome) -> str:
    """`12 ms / 10 ms, of 34,567 / 34,321 requests`."""
    first, second = upgraded.tally, quiet.tally
    return (
        f"{milliseconds(first.slowest)} / {milliseconds(second.slowest)}, of {first.requests:,} / {second.requests:,}"
    )


def json_of(pairs: Pairs) -> str:
    """Everything; times in seconds, memory in bytes."""
    found = {"difference": pairs.difference, "bar": BAR, "problems": problems_of(pairs)}
    return json.dumps({**dataclasses.asdict(pairs), **found}, indent=2)
