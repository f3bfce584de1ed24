"""Counts per request that do not hang on how fast the machine is, beside those committed in docs/performance.json.

They are those of one minor version of Python, which are apart from each other in the file.
"""

import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.bars import Row
from benchmarks.counting import count
from benchmarks.lockstep import KINDS

FILE = Path(__file__).resolve().parents[1] / "docs" / "performance.json"
PYTHON = f"{platform.python_implementation()} {sys.version_info.major}.{sys.version_info.minor}"
GROWTH = 1.05
"""A count may be this many times the one that is committed."""

Counted = Mapping[str, Mapping[str, Any]]
"""By kind of request: what `counting.Counts` holds, and under `by_name` the system calls."""


def guard(*, write: bool) -> None:
    """Count, then compare, or write what was counted. Raises SystemExit where a count has grown, WrongAnswer."""
    counted, known = count_all(), read()
    if write:
        known[PYTHON] = {"trio": version("trio"), "requests": counted}
        FILE.write_text(json.dumps(known, indent=2, sort_keys=True) + "\n")
    elif PYTHON not in known:
        print(f"{FILE.name} has no counts of {PYTHON}, so there is nothing to compare: scripts/bench --guard --write")
        return
    committed = known[PYTHON]["requests"]
    print(report.aligned(table(committed, counted)))
    if found := grown(committed, counted):
        before, now = known[PYTHON]["trio"], version("trio")
        trio = "" if before == now else f"\ncommitted with trio {before}, counted with trio {now}"
        raise SystemExit("\n".join(found) + trio + "\nif it is worth that: scripts/bench --guard --write")


def growth() -> list[Row]:
    """Of each kind of request the count that has grown most; none where none are committed. Raises WrongAnswer."""
    known = read()
    return most_grown(known[PYTHON]["requests"], count_all()) if PYTHON in known else []


def most_grown(committed: Counted, counted: Counted) -> list[Row]:
    """A row for each kind that is committed."""
    return [
        Row(
            what=f"guard: counts of a request, {kind}",
            figure=max(counts[name] / committed[kind][name] for name in names(counts)),
            bar=GROWTH,
        )
        for kind, counts in counted.items()
        if kind in committed
    ]


def read() -> dict[str, Any]:
    """What is committed, by version of Python."""
    known: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {}
    return known


def count_all() -> Counted:
    """Every kind of request. Raises WrongAnswer."""
    found = {kind: count(kind) for kind in KINDS}
    return {kind: asdict(counts) | {"by_name": by_name} for kind, (counts, by_name) in found.items()}


def grown(committed: Counted, counted: Counted) -> list[str]:
    """What has, a sentence for each; a kind or a count that is not committed has too."""
    found = []
    for kind, counts in counted.items():
        for name in names(counts):
            before = committed.get(kind, {}).get(name, 0)
            if counts[name] > GROWTH * before:
                more = f" ({changed(committed[kind], counts)})" if name == "system_calls" and before else ""
                found.append(f"{kind}: {name} has grown from {before:,g} to {counts[name]:,g}{more}")
    return found


def changed(committed: Mapping[str, Any], counts: Mapping[str, Any]) -> str:
    """Which system calls are others than they were: `epoll.modify 2 → 4`."""
    before, now = committed["by_name"], counts["by_name"]
    return ", ".join(
        f"{name} {before.get(name, 0):g} → {now.get(name, 0):g}"
        for name in sorted(before | now)
        if before.get(name, 0) != now.get(name, 0)
    )


def names(counts: Mapping[str, Any]) -> list[str]:
    return [name for name in counts if name != "by_name"]


def table(committed: Counted, counted: Counted) -> list[tuple[str, ...]]:
    """A row for each kind of request; what is committed stands in parentheses where it is another."""
    columns = names(next(iter(counted.values())))
    rows = [("per request", *(column.replace("_", " ") for column in columns))]
    for kind, counts in counted.items():
        before = committed.get(kind, {})
        rows.append((kind, *(cell(counts[column], before.get(column)) for column in columns)))
    return rows


def cell(now: float, before: float | None) -> str:
    return f"{now:,g}" if before in (now, None) else f"{now:,g} ({before:,g})"
