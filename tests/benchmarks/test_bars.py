"""Bars that hold and bars that are missed, and the table of both."""

import pytest

from benchmarks.bars import Row, against, judge, milliseconds, table
from benchmarks.measure import Figures


def figures(cpu: float) -> Figures:
    return Figures(requests=1000, cpu=cpu, rate=1, p50=1, p99=1, p999=1, rss=1)


ROUNDS = {"ours": [figures(60), figures(90)], "floor": [figures(30), figures(30)], "nginx": [figures(10), figures(10)]}


def test_what_a_bar_says() -> None:
    assert milliseconds("a", 2.1, 2).is_missed
    assert not milliseconds("a", 2, 2).is_missed


def test_only_relays_with_a_bar_that_were_measured_count() -> None:
    assert against(ROUNDS, "ours", {"floor": 2.4, "h11": 0.5}, "small") == [
        Row(what="small: ours ÷ floor", figure=2.5, bar=2.4, spread=(2, 3))
    ]
    assert against({"floor": ROUNDS["floor"]}, "ours", {"floor": 2.4}, "small") == []


def test_an_aim_without_a_bar_fails_nobody() -> None:
    (row,) = against(ROUNDS, "ours", {}, "bulk", {"nginx": 7})
    assert (row.bar, row.aim, row.spread) == (None, 7, (6, 9))
    assert (row.is_missed, row.verdict) == (False, "short of the aim")
    judge([row])


def test_verdicts() -> None:
    assert milliseconds("a", 3, 2, 1).verdict == "missed"
    assert milliseconds("a", 1.5, 2, 1).verdict == "short of the aim"
    assert milliseconds("a", 1, 2, 1).verdict == "aim reached"


def test_table() -> None:
    rows = [Row(what="a", figure=2.5, bar=2.4, aim=1.8), milliseconds("b", 1.2345, 15)]
    assert table(rows) == [
        ("bar", "measured", "at most", "aim", ""),
        ("a", "2.50 ×", "2.4 ×", "1.8 ×", "missed"),
        ("b", "1,234.50 ms", "15,000 ms", "–", "ok"),
    ]


def test_a_missed_bar_ends_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    judge([Row(what="a", figure=1, bar=2)])
    with pytest.raises(SystemExit, match="bar missed: b"):
        judge([Row(what="a", figure=1, bar=2), Row(what="b", figure=3, bar=2)], as_markdown=True)
    assert "| b   |   3.00 × |     2 × |   – | missed |" in capsys.readouterr().out


def test_what_failed_ends_the_run_too() -> None:
    with pytest.raises(SystemExit, match="benchmark failed: tls: no answer\nbar missed: b"):
        judge([Row(what="b", figure=3, bar=2)], ["tls: no answer"])
