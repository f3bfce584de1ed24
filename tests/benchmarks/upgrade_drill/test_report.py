"""What is called lost, and the table."""

import json
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.upgrade_drill.drill import Outcome
from benchmarks.upgrade_drill.paired import BAR, Pairs, json_of, problems_of, table_of
from benchmarks.upgrade_drill.report import aligned, as_json, problems, table
from benchmarks.upgrade_drill.tally import Tally
from benchmarks.upgrade_drill.watching import Sample

BEFORE = Sample(memory=80 << 20, descriptors=100, of_main=20, workers=2)


def outcome(**seen: Any) -> Outcome:
    """All is well, but for what was `seen`."""
    tally = Tally(**{"requests": 1000, "slowest": 0.1} | seen)
    return Outcome(tally, times=[1, 2, 6], before=BEFORE, after=BEFORE, most_workers=3, peak=90 << 20)


def test_all_is_well() -> None:
    assert problems(outcome()) == []


@pytest.mark.parametrize("name", ["failures", "closed", "cut", "lost", "disordered", "missing", "wrong"])
def test_nothing_may_be_lost(name: str) -> None:
    found = outcome(**{name: 1})
    found.tally.because("of a reason")
    first, reason = problems(found)
    assert first.startswith("1 ")
    assert reason == "    1 times: of a reason"


def test_nothing_was_tried() -> None:
    assert problems(outcome(requests=0)) == ["no request was sent at all"]


@pytest.mark.parametrize(
    ("after", "problem"),
    [
        ({"memory": 101 << 20}, "80.0 MiB before, 101.0 MiB after"),
        ({"descriptors": 357}, "100 descriptors before, 357 after"),
        ({"of_main": 23}, "main: 20 descriptors before, 23 after"),
        ({"workers": 1}, "2 workers before, 1 after"),
    ],
)
def test_as_before(after: dict[str, int], problem: str) -> None:
    found = outcome()
    found.after = replace(BEFORE, **after)
    assert problems(found) == [problem]


def test_processes() -> None:
    found = outcome()
    found.most_workers, found.left_behind, found.trouble = 4, [17, 18], ["upgrade 1 failed: no"]
    assert problems(found) == [
        "upgrade 1 failed: no",
        "processes were left behind: 17, 18",
        "4 workers at a time, where there are 2: one more may be",
    ]


def test_too_many_reasons_are_not_kept() -> None:
    tally = Tally()
    for number in range(1000):
        tally.failed(f"{number}")
    assert tally.failures == 1000
    assert len(tally.reasons) < 100


def test_table() -> None:
    rows = dict(table(outcome(failures=3, slowest=0.1234)))
    assert rows["requests"] == "1,000"
    assert rows["failures"] == "3"
    assert rows["slowest request"] == "123 ms"
    assert rows["memory (PSS) before / at most / after"] == "80.0 / 90.0 / 80.0 MiB"
    assert rows["  median / longest"] == "2.0 s / 6.0 s"
    assert aligned([("a", "1"), ("long", "2")]) == "a     1\nlong  2"


def test_table_of_what_is_not_known() -> None:
    rows = dict(table(Outcome(Tally())))
    assert rows["  median / longest"] == "– / –"
    assert rows["descriptors before / after"] == "– / –"


def test_json() -> None:
    said = outcome(failures=3)
    for reason in ("rare", "frequent", "frequent"):
        said.tally.because(reason)
    found = json.loads(as_json(said))
    assert found["tally"]["reasons"] == {"rare": 1, "frequent": 2}
    assert found["problems"] == [
        "3 of 1,000 requests got no complete right answer",
        "    2 times: frequent",
        "    1 times: rare",
    ]


def test_paired() -> None:
    pairs = Pairs(5000, [outcome(slowest=0.2), outcome(slowest=0.4)], [outcome(slowest=0.3), outcome(slowest=0.1)])
    assert pairs.difference == pytest.approx(0.1)
    assert problems_of(pairs) == []
    rows = dict(table_of(pairs))
    assert rows["  round 2"] == "400 ms / 100 ms, of 1,000 / 1,000"
    assert rows["difference of the slowest"] == "100 ms (at most 500 ms)"


def test_paired_and_too_slow() -> None:
    pairs = Pairs(5000, [outcome(slowest=0.2 + BAR), outcome(closed=1)], [outcome(), outcome()])
    assert problems_of(pairs)[0] == "1 keep-alive connections were closed by the proxy"
    assert problems_of(pairs)[-1] == "with upgrades 600 ms slower, want at most 500 ms"
    assert json.loads(json_of(pairs))["difference"] == pytest.approx(0.6)
