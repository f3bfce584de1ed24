"""A picture of the ratios: a horizontal bar for each, bar and aim marked on it, min–max of the rounds as whiskers.

Figures in ms or KiB have no reference to be divided by, so they are not in it. Nobody else imports matplotlib: it takes
a second, and who wants no picture should not need it.
"""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks import report
from benchmarks.bars import RATIO, Row
from benchmarks.rounds import say

WIDTH, EACH, AROUND = 10.0, 0.3, 1.6
"""Inches: of the picture, of each row, of what is above and below them."""
RESOLUTION = 150
"""Pixels per inch."""
COLOURS = {"missed": "#c8553d", "short of the aim": "#e0b050", "ok": "#6a9fb5", "aim reached": "#7a9e5f"}
"""By verdict."""


def draw(rows: Sequence[Row], file: Path) -> None:
    """Write it as PNG, whatever `file` is called; where no row is a ratio, say so instead. Raises OSError."""
    if ratios := [row for row in rows if row.unit == RATIO]:
        picture(ratios).savefig(file, format="png", dpi=RESOLUTION)
    else:
        say(f"{file} is not written: none of these figures is a ratio")


def picture(ratios: Sequence[Row]) -> Figure:
    """Of all of them, in their order from above."""
    figure = Figure(figsize=(WIDTH, AROUND + EACH * len(ratios)), layout="constrained")
    axes = figure.add_subplot()
    for place, row in enumerate(ratios):
        colour = COLOURS[row.verdict]
        axes.barh(place, row.figure, xerr=whiskers(row), color=colour, height=0.6, capsize=3, ecolor="#404040")
    mark(axes, [row.bar for row in ratios], "at most", "black")
    mark(axes, [row.aim for row in ratios], "aim", "#2f6f2f")
    axes.set_yticks(range(len(ratios)), [row.what for row in ratios])
    axes.invert_yaxis()
    axes.set_xlim(left=0)
    axes.set_xlabel("times the reference; less is cheaper")
    axes.set_title(report.machine(), fontsize="small")
    figure.legend(loc="outside upper right", ncols=2, fontsize="small")
    return figure


def whiskers(row: Row) -> list[list[float]] | None:
    """How far the least and the most are from the figure, as matplotlib takes them; None where it was taken once."""
    if row.spread is None:
        return None
    least, most = row.spread
    return [[row.figure - least], [most - row.figure]]


def mark(axes: Axes, limits: Sequence[float | None], name: str, colour: str) -> None:
    """An upright stroke at each of them that there is."""
    known = {place: limit for place, limit in enumerate(limits) if limit is not None}
    axes.scatter(list(known.values()), list(known), marker="|", s=160, linewidths=2, color=colour, label=name, zorder=3)
