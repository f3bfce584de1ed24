"""Titles: what others see of a process that has one, and that its environment is still there."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sozu_trio.nursery import title
from sozu_trio.nursery.title import ROOM, Title, call_thread

SHOWING = """
import ctypes, sys
from sozu_trio.nursery.title import Title, call_thread
own = Title()
for each in sys.argv[1].split("|"):
    own.show(each)
call_thread("sozu-trio: worker")
getenv = ctypes.CDLL(None).getenv
getenv.restype = ctypes.c_char_p
print(getenv(b"BEHIND").decode(), flush=True)
sys.stdin.read()
"""


@contextmanager
def showing(titles: str, *room: str) -> Iterator[tuple[int, str]]:
    """A process that shows `titles` one after the other: its id, and what libc finds in its environment then."""
    command = [sys.executable, "-c", SHOWING, titles, *room]
    environment = {**os.environ, "BEHIND": "still there"}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            assert process.stdout is not None
            yield process.pid, process.stdout.readline().strip()
        finally:
            process.send_signal(signal.SIGKILL)


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def test_others_see_the_latest_one() -> None:
    with showing("sozu-trio: worker 12 (generation 123456)|sozu-trio: worker 1", ROOM) as (pid, found):
        assert command_line(pid).rstrip(b"\0") == b"sozu-trio: worker 1"
        assert Path(f"/proc/{pid}/comm").read_text() == "sozu-trio: work\n"
        assert found == "still there"


def test_one_that_is_too_long_is_cut_and_nothing_behind_it_is_touched() -> None:
    with showing("x" * 5000) as (pid, found):
        assert found == "still there"
        assert set(command_line(pid).rstrip(b"\0")) == set(b"x")
        before = sum(len(each.encode()) + 1 for each in (sys.executable, "-c", SHOWING, "x" * 5000))
        assert len(command_line(pid)) == before


def test_bytes_that_are_no_text_come_back_as_they_were() -> None:
    """Python has them as lone surrogates in sys.argv, and so has a title that is made of it."""
    with showing(os.fsdecode(b"caf\xe9 serve"), ROOM) as (pid, found):
        assert command_line(pid).rstrip(b"\0") == b"caf\xe9 serve"
        assert found == "still there"


@pytest.mark.parametrize("stat", ["", "1 (x) R 1", "1 (x) R " + "y " * 60])
def test_where_the_arguments_are_not_known_nothing_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stat: str
) -> None:
    file = tmp_path / "stat"
    file.write_text(stat)
    before = command_line(os.getpid())
    monkeypatch.setattr(title, "Path", lambda _: file)
    Title().show("sozu-trio")
    file.unlink()
    Title().show("sozu-trio")
    monkeypatch.setattr(title, "Path", lambda _: tmp_path)
    call_thread("sozu-trio")
    assert command_line(os.getpid()) == before
