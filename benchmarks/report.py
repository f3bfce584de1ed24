"""From the rounds of a run to what is printed: medians, ratios with their spread, a table for people, Markdown or JSON.

A ratio divides the CPU per request of the subject by that of the other in the same round, so that a slow minute hits
both: below 1 the subject is cheaper.
"""

import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

from benchmarks.measure import Figures, Work

Rounds = Mapping[str, Sequence[Figures]]

HEADINGS = (
    "relay",
    "CPU µs/request",
    "{subject} ÷ it",
    "min–max",
    "requests/s",
    "p50 ms",
    "p99 ms",
    "p99.9 ms",
    "RSS MiB",
)


@dataclass(frozen=True, slots=True)
class Ratio:
    """A figure of the subject, CPU per request mostly, divided by another's: median and extremes of the rounds."""

    median: float
    low: float
    high: float


def ratio(rounds: Rounds, subject: str, other: str) -> Ratio | None:
    """None when the subject was not measured."""
    if not rounds.get(subject):
        return None
    return ratio_of([each.cpu for each in rounds[subject]], [each.cpu for each in rounds[other]])


def ratio_of(ours: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Of figures of the same rounds; there is one at least."""
    ratios = [one / another for one, another in zip(ours, theirs, strict=False)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def table(rounds: Rounds, subject: str) -> list[tuple[str, ...]]:
    """Headings, then a row for each relay, its median of each figure."""
    return [
        tuple(heading.format(subject=subject) for heading in HEADINGS),
        *(row(rounds, subject, name) for name in rounds),
    ]


def row(rounds: Rounds, subject: str, name: str) -> tuple[str, ...]:
    figures, against = rounds[name], ratio(rounds, subject, name)
    return (
        name,
        f"{statistics.median(f.cpu for f in figures):,.1f}",
        f"{against.median:.2f}" if against else "–",
        f"{against.low:.2f}–{against.high:.2f}" if against else "–",
        f"{statistics.median(f.rate for f in figures):,.0f}",
        f"{statistics.median(f.p50 for f in figures):.2f}",
        f"{statistics.median(f.p99 for f in figures):.2f}",
        f"{statistics.median(f.p999 for f in figures):.2f}",
        f"{statistics.median(f.rss for f in figures) / 2**20:.1f}",
    )


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Columns for a terminal: names to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cells(row, widths)).rstrip() for row in rows)


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """The same as a Markdown table."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    head, *body = (cells(row, widths) for row in rows)
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *body))


def section(name: str, how: str, rows: Sequence[Sequence[str]], *, as_markdown: bool) -> str:
    """What was measured, how and on which machine, and its table; as Markdown it has a heading of its own."""
    if as_markdown:
        return f"### {name}\n\n{how}; {machine()}.\n\n{markdown(rows)}\n"
    return f"{name}: {how}\n{machine()}\n\n{aligned(rows)}\n"


def cells(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]


def machine() -> str:
    """What the figures were measured on, without which they say little."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return f"{os.cpu_count()} cores, Linux {platform.release()}, {python}, trio {version('trio')}"


def as_record(rounds: Rounds, subject: str, work: Work, seconds: int) -> dict[str, Any]:
    """Everything measured, round by round, and the ratios, as JSON takes it."""
    ratios = {name: ratio(rounds, subject, name) for name in rounds}
    return {
        "machine": machine(),
        "work": {"path": work.path, "bytes": work.size, "connections": work.connections, "seconds": seconds},
        "rounds": {name: [asdict(figures) for figures in measured] for name, measured in rounds.items()},
        "ratios": {name: asdict(found) for name, found in ratios.items() if found},
        "ratios_of": subject,
    }
