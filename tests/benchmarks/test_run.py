"""The command line: what it takes and what it refuses, and all benchmarks in turn."""

import argparse
import json
import sys
from pathlib import Path

import pytest

from benchmarks import run
from benchmarks.bars import Row
from benchmarks.measure import WrongAnswer
from benchmarks.rounds import Outcome
from benchmarks.subcommands import BENCHMARKS, Benchmark

GOOD, BAD = Row(what="good", figure=1, bar=2), Row(what="bad", figure=3, bar=2)


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["bench", *arguments])
    run.main()


def fails(options: argparse.Namespace) -> Outcome:
    raise WrongAnswer("no answer")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[argparse.Namespace]:
    """The options of each benchmark that was run; there are three of them, and no guard."""
    seen: list[argparse.Namespace] = []

    def runs(options: argparse.Namespace) -> Outcome:
        seen.append(options)
        return Outcome(rows=[GOOD], record={"figure": 1})

    known = {name: Benchmark(what="", run=runs, rounds=BENCHMARKS[name].rounds) for name in ("small", "idle", "tls")}
    for name in [*BENCHMARKS]:
        monkeypatch.delitem(BENCHMARKS, name)
    BENCHMARKS.update(known)
    monkeypatch.setattr(run, "growth", list)
    return seen


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--guard", "small"],
        ["--write"],
        ["--write", "small"],
        ["nothing"],
        ["small", "--rounds", "0"],
        ["small", "--only", "apache"],
        ["all", "--without", "apache"],
    ],
)
def test_refused(monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        call(monkeypatch, *arguments)
    assert refused.value.code == 2


def test_all_have_rounds_of_their_own(monkeypatch: pytest.MonkeyPatch, asked: list[argparse.Namespace]) -> None:
    monkeypatch.setitem(BENCHMARKS, "small", Benchmark(what="", run=BENCHMARKS["small"].run, rounds=7))
    call(monkeypatch, "all")
    assert [each.work for each in asked] == ["small", "idle", "tls"]
    assert [getattr(each, "rounds", None) for each in asked] == [7, None, 3]


def test_all_are_told_what_was_asked_for(
    monkeypatch: pytest.MonkeyPatch, asked: list[argparse.Namespace], tmp_path: Path
) -> None:
    file = tmp_path / "figures.json"
    words = ["--rounds", "2", "--seconds", "1", "--markdown", "--without", "tls", "--json", str(file)]
    call(monkeypatch, "all", *words)
    small, idle = asked
    assert idle.markdown
    assert (small.rounds, small.seconds, small.markdown) == (2, 1, True)
    assert json.loads(file.read_text()) == {"small": {"figure": 1}, "idle": {"figure": 1}}


def test_who_fails_stops_nobody(
    monkeypatch: pytest.MonkeyPatch, asked: list[argparse.Namespace], capsys: pytest.CaptureFixture[str]
) -> None:
    BENCHMARKS["small"] = Benchmark(what="", run=fails)
    BENCHMARKS["idle"] = Benchmark(what="", run=lambda options: Outcome(rows=[BAD]), rounds=0)
    with pytest.raises(SystemExit, match="benchmark failed: small: no answer\nbar missed: bad"):
        call(monkeypatch, "all")
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["bar", "bad", "good"]


def test_one_that_fails(monkeypatch: pytest.MonkeyPatch, asked: list[argparse.Namespace]) -> None:
    BENCHMARKS["small"] = Benchmark(what="", run=fails)
    with pytest.raises(SystemExit, match="benchmark failed: no answer"):
        call(monkeypatch, "small")


def test_the_clients_of_idle(monkeypatch: pytest.MonkeyPatch, asked: list[argparse.Namespace]) -> None:
    call(monkeypatch, "idle", "--clients", "5")
    assert asked[0].clients == 5
