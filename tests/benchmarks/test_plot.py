"""The picture: what is drawn for which row, and that it costs nobody who does not ask for it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bars import Row, milliseconds
from benchmarks.plot import COLOURS, draw, picture, whiskers

RATIOS = [
    Row(what="small", figure=2.5, bar=2.4, aim=1.8, spread=(2.0, 4.0)),
    Row(what="bulk", figure=1.0, bar=None, aim=1.1),
]
MILLISECONDS = milliseconds("a change", 0.006, 0.05, 0.01)


def test_a_bar_for_each() -> None:
    (axes,) = picture(RATIOS).axes
    assert [label.get_text() for label in axes.get_yticklabels()] == ["small", "bulk"]
    drawn: Any = axes.patches
    assert [each.get_width() for each in drawn] == [2.5, 1.0]


def test_bars_and_aims_are_marked() -> None:
    (axes,) = picture(RATIOS).axes
    drawn: Any = axes.collections
    marks = {each.get_label(): each.get_offsets().tolist() for each in drawn}
    assert marks["at most"] == [[2.4, 0]]
    assert marks["aim"] == [[1.8, 0], [1.1, 1]]


def test_whiskers() -> None:
    assert whiskers(RATIOS[0]) == [[0.5], [1.5]]
    assert whiskers(RATIOS[1]) is None


def test_every_verdict_has_a_colour() -> None:
    drawn = [Row(what="", figure=figure, bar=3, aim=aim) for figure in (1, 2, 4) for aim in (None, 1.5)]
    assert {row.verdict for row in drawn} == set(COLOURS)


def test_file(tmp_path: Path) -> None:
    draw([*RATIOS, MILLISECONDS], tmp_path / "ratios")
    assert (tmp_path / "ratios").read_bytes().startswith(b"\x89PNG\r\n")


def test_no_file_without_a_ratio(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw([MILLISECONDS], tmp_path / "ratios")
    assert "none of these figures is a ratio" in capsys.readouterr().err
    assert not (tmp_path / "ratios").exists()


def test_nobody_else_loads_matplotlib() -> None:
    program = "import sys, benchmarks.run; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
