"""Upgrades follow one another until one fails, and none where none is wanted."""

import sys
from pathlib import Path

import pytest

from benchmarks.upgrade_drill import drill
from benchmarks.upgrade_drill.drill import Outcome, Plan, upgrades
from benchmarks.upgrade_drill.tally import Tally
from benchmarks.upgrade_drill.upgrading import Upgrader

CTL = """
import sys
with open({calls!r}, "a+") as file:
    file.write("x")
    file.seek(0)
    number = len(file.read())
if number > {good}:
    sys.exit("no successor")
print(number)
"""


def plan(folder: Path, *, good: int) -> Plan:
    """Three upgrades by a ctl that succeeds so often."""
    program = folder / "ctl.py"
    program.write_text(CTL.format(calls=str(folder / "calls"), good=good))
    upgrader = Upgrader(kind="everything", target=(), ctl=(sys.executable, str(program)))
    return Plan(upgrader=upgrader, upgrades=3, seconds=0, load=False)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drill, "PAUSE", 0)


async def test_all_of_them(tmp_path: Path) -> None:
    outcome = Outcome(Tally())
    await upgrades(plan(tmp_path, good=3), outcome)
    assert (len(outcome.times), outcome.trouble, outcome.answer) == (3, [], 3)
    assert all(seconds > 0 for seconds in outcome.times)


async def test_one_fails(tmp_path: Path) -> None:
    outcome = Outcome(Tally())
    await upgrades(plan(tmp_path, good=1), outcome)
    assert (len(outcome.times), outcome.answer) == (1, 1)
    assert outcome.trouble == ["upgrade 2 failed: ctl upgrade: exit code 1: no successor"]
    assert (tmp_path / "calls").read_text() == "xx"


async def test_none(tmp_path: Path) -> None:
    outcome = Outcome(Tally())
    await upgrades(Plan(upgrader=None, upgrades=3, seconds=0, load=False), outcome)
    assert (outcome.times, outcome.trouble) == ([], [])
