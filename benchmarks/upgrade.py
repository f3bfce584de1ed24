"""One upgrade of everything at half the load that a worker can take, and as long without: what clients feel of it.

It is the shortest of what `scripts/upgrade-drill --paired` measures, so that it fits among the other benchmarks: the
drill itself has rounds, more upgrades, and WebSocket and TCP clients. Whatever a client loses fails the run.
"""

from dataclasses import asdict

import trio

from benchmarks import report
from benchmarks.bars import milliseconds
from benchmarks.failures import told
from benchmarks.peers import installed
from benchmarks.processes import ProcessTrouble
from benchmarks.rounds import Outcome
from benchmarks.upgrade_drill.crowd import Crowd
from benchmarks.upgrade_drill.drill import Plan
from benchmarks.upgrade_drill.paired import BAR, Pairs, paired, table_of
from benchmarks.upgrade_drill.report import problems
from benchmarks.upgrade_drill.stage import Stage, own_stage
from benchmarks.upgrade_drill.upgrading import Upgrader
from sozu_trio.errors import ControlError

LONGEST = 60
"""Seconds for all of it; where nothing else runs it takes half of that."""


def upgrade(*, as_markdown: bool = False) -> Outcome:
    """Raises OSError, ProcessTrouble."""
    installed("wrk")
    try:
        with own_stage(1) as stage:
            pairs = trio.run(in_time, stage)
    except (ControlError, BaseExceptionGroup) as error:
        raise ProcessTrouble("; ".join(told(error, (ControlError, ProcessTrouble)))) from error
    rows = [("", "one worker"), *table_of(pairs)]
    print(report.section("upgrade", "at half the load it can take", rows, as_markdown=as_markdown), flush=True)
    return outcome_of(pairs)


async def in_time(stage: Stage) -> Pairs:
    """One round of each. Raises ProcessTrouble where it takes too long, and else as `drill` does."""
    plan = Plan(upgrader=Upgrader(kind="everything", target=stage.target), upgrades=1, seconds=0, load=True)
    with trio.move_on_after(LONGEST):
        return await paired(stage, Crowd(pages=stage.pages), plan, rounds=1)
    raise ProcessTrouble(f"an upgrade under load was not measured within {LONGEST} s")


def outcome_of(pairs: Pairs) -> Outcome:
    """The difference beside its bar, and whatever was lost."""
    lost = [problem for each in (*pairs.rounds_with, *pairs.rounds_without) for problem in problems(each)]
    slower = milliseconds("upgrade: slowest request, beyond that without one", pairs.difference, BAR)
    return Outcome(rows=[slower], record=asdict(pairs), failed=tuple(f"upgrade: {problem}" for problem in lost))
