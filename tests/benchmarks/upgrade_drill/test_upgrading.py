"""How ctl is called for each kind of upgrade, and what becomes of its answer."""

import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.upgrade_drill.upgrading import Kind, UpgradeFailed, Upgrader

CTL = """
import json, sys
words = sys.argv[1:]
with open({log!r}, "a") as log:
    print(*words, file=log)
if "status" in words:
    print(json.dumps({{"workers": [{{"id": 0}}, {{"id": 3}}]}}))
else:
    {upgrade}
"""


def upgrader(folder: Path, kind: Kind, upgrade: str = "print(json.dumps('upgraded'))", **options: Any) -> Upgrader:
    """With a ctl that notes how it was called."""
    program = folder / "ctl.py"
    program.write_text(CTL.format(log=str(folder / "calls"), upgrade=upgrade))
    return Upgrader(kind=kind, target=("--socket", "S"), ctl=(sys.executable, str(program)), **options)


def calls(folder: Path) -> list[str]:
    return (folder / "calls").read_text().splitlines()


async def test_everything(tmp_path: Path) -> None:
    assert await upgrader(tmp_path, "everything").upgrade() == "upgraded"
    assert calls(tmp_path) == ["--socket S --json upgrade"]


async def test_another_interpreter(tmp_path: Path) -> None:
    await upgrader(tmp_path, "everything", python="/new/python").upgrade()
    assert calls(tmp_path) == ["--socket S --json upgrade --python /new/python"]


async def test_workers_in_turn(tmp_path: Path) -> None:
    assert await upgrader(tmp_path, "workers").upgrade() == ["upgraded", "upgraded"]
    assert [call.partition("--json ")[2] for call in calls(tmp_path)] == [
        "status",
        "upgrade --worker 0",
        "upgrade --worker 3",
    ]


async def test_it_fails(tmp_path: Path) -> None:
    failing = upgrader(tmp_path, "everything", "sys.exit('the successor died')")
    with pytest.raises(UpgradeFailed, match="ctl upgrade: exit code 1: the successor died"):
        await failing.upgrade()


async def test_it_says_no_json(tmp_path: Path) -> None:
    with pytest.raises(UpgradeFailed, match="printed no JSON: b'done"):
        await upgrader(tmp_path, "everything", "print('done')").upgrade()
