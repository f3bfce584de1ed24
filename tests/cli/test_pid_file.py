"""The file with main's pid: there while we serve, and nobody else's is removed."""

import os
from pathlib import Path

import pytest

from sozu_trio.cli.pid_file import pid_file
from sozu_trio.errors import OperatorError


def test_holds_our_pid_while_the_body_runs(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pid_file(path):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not path.exists()


def test_takes_the_place_of_a_stale_one(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text("99999999\n")
    with pid_file(path):
        assert path.read_text() == f"{os.getpid()}\n"


def test_leaves_what_a_successor_wrote(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pid_file(path):
        path.write_text("1\n")
    assert path.read_text() == "1\n"


def test_may_be_gone_already(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with pid_file(path):
        path.unlink()
    assert not path.exists()


def test_none_is_asked_for() -> None:
    with pid_file(None):
        pass


def test_cannot_be_written(tmp_path: Path) -> None:
    with (
        pytest.raises(OperatorError, match=r"pid_file_path: cannot write .*/absent/pid: No such file or directory"),
        pid_file(tmp_path / "absent" / "pid"),
    ):
        pass


def test_what_holds_our_pid_already_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "pid"
    path.write_text(f"{os.getpid()}\n")
    os.utime(path, (1, 1))
    with pid_file(path):
        assert path.stat().st_mtime == 1
    assert not path.exists()


def test_who_succeeds_is_not_kept_from_serving(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pid_file(tmp_path / "absent" / "pid", succeeds=True):
        pass
    assert "pid_file_path: cannot write" in caplog.text
