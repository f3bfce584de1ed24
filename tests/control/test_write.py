"""A file is there whole or as it was, and nothing else is left lying about."""

import errno
import os
import stat
from pathlib import Path

import pytest

from sozu_trio.control.write import NewFile, remove_unfinished, write_at, write_atomically
from tests.control.disk import Disk, PowerCut


def test_new_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "state"
    write_atomically(path, b"one")
    path.chmod(0o644)
    write_atomically(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_no_umask_widens_or_narrows_it(tmp_path: Path) -> None:
    before = os.umask(0o777)
    try:
        write_atomically(tmp_path / "state", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o600


def test_short_writes_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, position: whole(fd, data[:3], position))
    write_atomically(tmp_path / "state", b"0123456789")
    assert (tmp_path / "state").read_bytes() == b"0123456789"


@pytest.mark.parametrize("name", ["pwrite", "fsync", "rename"])
def test_a_failure_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    path = tmp_path / "state"
    write_atomically(path, b"one")
    disk = Disk(path, monkeypatch)
    disk.fails = lambda call, _: errno.EIO if call == name else None
    with pytest.raises(OSError, match="Input/output error"):
        write_atomically(path, b"two")
    disk.close()
    assert path.read_bytes() == b"one"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_crash_leaves_at_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    write_atomically(path, b"one")
    for crash_at in range(1, 5):
        with monkeypatch.context() as patched:
            disk = Disk(path, patched)
            disk.crash_at = crash_at
            with pytest.raises(PowerCut):
                write_atomically(path, b"two")
            assert {disk.after_the_crash() for _ in range(50)} <= {b"one", b"two"}
            disk.close()
    with monkeypatch.context() as patched:
        disk = Disk(path, patched)
        write_atomically(path, b"three")
        assert {disk.after_the_crash() for _ in range(50)} == {b"three"}
        assert disk.calls == ["pwrite", "fsync", "rename", "fsync"]
        disk.close()


def test_the_rest_of_a_dead_process_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    dead = NewFile(path)
    write_at(dead.fd, b"half", 0)
    others = [tmp_path / name for name in ("journal", ".journal", "journal.new", ".other.x.new")]
    for other in others:
        other.touch()
    remove_unfinished(path)
    assert sorted(tmp_path.iterdir()) == sorted(others)
    os.close(dead.fd)


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "state", b"")
