"""Bars: the most a figure may be, aims: the most it should be, and the table that says whether it is.

A bar of a ratio is one of CPU per request against another relay in the same rounds. Those of docs/performance.md stand
beside what they are measured by.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks import report

RATIO = "×"
"""The unit of what is divided by another figure of the same kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A figure beside its bar and its aim, all in `unit`."""

    what: str
    figure: float
    bar: float | None
    """None: there is an aim only."""
    unit: str = RATIO
    aim: float | None = None
    spread: tuple[float, float] | None = None
    """The least and the most of the rounds, where it is their median."""

    @property
    def is_missed(self) -> bool:
        """The bar is; an aim that is not reached fails nobody."""
        return self.bar is not None and self.figure > self.bar

    @property
    def verdict(self) -> str:
        if self.is_missed or self.aim is None:
            return "missed" if self.is_missed else "ok"
        return "aim reached" if self.figure <= self.aim else "short of the aim"


def milliseconds(what: str, seconds: float, bar: float, aim: float | None = None) -> Row:
    """A figure, a bar and an aim in seconds, as people read them."""
    in_unit = None if aim is None else aim * 1000
    return Row(what=what, figure=seconds * 1000, bar=bar * 1000, unit="ms", aim=in_unit)


def against(
    rounds: report.Rounds, subject: str, bars: Mapping[str, float], work: str, aims: Mapping[str, float] | None = None
) -> list[Row]:
    """The subject's CPU per request divided by that of each relay with a bar or an aim that was measured."""
    aims = aims or {}
    ratios = {name: report.ratio(rounds, subject, name) for name in {**bars, **aims} if name in rounds}
    return [
        Row(
            what=f"{work}: {subject} ÷ {name}",
            figure=found.median,
            bar=bars.get(name),
            aim=aims.get(name),
            spread=(found.low, found.high),
        )
        for name, found in ratios.items()
        if found
    ]


def table(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Headings, then a line for each."""
    return [
        ("bar", "measured", "at most", "aim", ""),
        *(
            (row.what, f"{row.figure:,.2f} {row.unit}", limit(row.bar, row.unit), limit(row.aim, row.unit), row.verdict)
            for row in rows
        ),
    ]


def limit(most: float | None, unit: str) -> str:
    """`2.4 ×`, or a dash where there is none."""
    return "–" if most is None else f"{most:,g} {unit}"


def judge(rows: Sequence[Row], failed: Sequence[str] = (), *, as_markdown: bool = False) -> None:
    """Print the table. Raises SystemExit for a missed bar, and where something has `failed`, which it says."""
    if rows:
        print(report.markdown(table(rows)) if as_markdown else report.aligned(table(rows)), flush=True)
    missed = [row.what for row in rows if row.is_missed]
    trouble = [f"benchmark failed: {why}" for why in failed] + [f"bar missed: {what}" for what in missed]
    if trouble:
        raise SystemExit("\n".join(trouble))
