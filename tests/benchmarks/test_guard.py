"""What has grown, how it is told, and what is committed."""

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import guard
from benchmarks.lockstep import KINDS

COMMITTED = {"small": {"python_calls": 100, "system_calls": 2, "by_name": {"epoll.modify": 1, "socket.recv": 1}}}


def counted(**changes: Any) -> dict[str, dict[str, Any]]:
    return {"small": COMMITTED["small"] | changes}


def test_five_percent_may_be_more() -> None:
    assert guard.grown(COMMITTED, counted(python_calls=105)) == []
    assert guard.grown(COMMITTED, counted(python_calls=106)) == ["small: python_calls has grown from 100 to 106"]


def test_fewer_are_fine() -> None:
    assert guard.grown(COMMITTED, counted(python_calls=50, system_calls=0)) == []


def test_system_calls_are_named() -> None:
    now = counted(system_calls=3, by_name={"epoll.modify": 1, "epoll.poll": 2})
    assert guard.grown(COMMITTED, now) == [
        "small: system_calls has grown from 2 to 3 (epoll.poll 0 → 2, socket.recv 1 → 0)"
    ]


def test_what_is_not_committed_has_grown() -> None:
    assert guard.grown({}, {"tls": {"python_calls": 1, "by_name": {}}}) == ["tls: python_calls has grown from 0 to 1"]


def test_the_count_that_has_grown_most() -> None:
    (row,) = guard.most_grown(COMMITTED, counted(python_calls=110, system_calls=1) | {"tls": {"python_calls": 1}})
    assert (row.figure, row.is_missed) == (1.1, True)


def test_table_tells_what_was() -> None:
    assert guard.table(COMMITTED, counted(python_calls=1060)) == [
        ("per request", "python calls", "system calls"),
        ("small", "1,060 (100)", "2"),
    ]


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(guard, "FILE", tmp_path / "performance.json")
    return tmp_path / "performance.json"


def test_what_is_written_is_compared(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(guard, "count_all", lambda: COMMITTED)
    guard.guard(write=False)
    assert "no counts of CPython" in capsys.readouterr().out
    guard.guard(write=True)
    guard.guard(write=False)
    monkeypatch.setattr(guard, "count_all", lambda: counted(python_calls=200))
    with pytest.raises(SystemExit, match="python_calls has grown from 100 to 200"):
        guard.guard(write=False)


def test_others_stay_when_one_is_written(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('{"CPython 2.7": {}}')
    monkeypatch.setattr(guard, "count_all", lambda: COMMITTED)
    guard.guard(write=True)
    assert len(json.loads(file.read_text())) == 2


def test_every_kind_is_committed() -> None:
    for committed in json.loads(guard.FILE.read_text()).values():
        assert set(committed["requests"]) == set(KINDS)
