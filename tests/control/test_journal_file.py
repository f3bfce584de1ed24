"""A line is there for good or not at all, and a file that cannot be relied on takes no other."""

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from sozu_trio.control.history import History
from sozu_trio.control.journal_file import LONG, JournalFile, Successor, open_file
from sozu_trio.control.journal_lines import Line, entry_line
from sozu_trio.control.journal_read import read_journal
from sozu_trio.routing.state import EMPTY
from tests.control.disk import Disk
from tests.control.test_journal_read import added, no_rest

HISTORY = History(base=EMPTY, base_generation=0)
LINE = entry_line(added(1), no_rest)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture
def file(path: Path) -> Iterator[JournalFile]:
    made = succeed(path)
    yield made
    made.close()


@pytest.fixture
def disk(path: Path, file: JournalFile, monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    made = Disk(path, monkeypatch)
    yield made
    made.close()


def succeed(path: Path, history: History = HISTORY, lines: tuple[Line, ...] = ()) -> JournalFile:
    new = Successor(path, history, no_rest)
    try:
        return new.finish(lines)
    finally:
        new.close()


def generation(path: Path) -> int:
    contents = read_journal(path)
    assert not contents.cut_off
    return contents.history.generation


def test_lines_are_added_and_synced(path: Path, file: JournalFile, disk: Disk) -> None:
    file.append(LINE)
    assert disk.calls == ["pwrite", "fdatasync"]
    assert generation(path) == 1
    assert file.size == path.stat().st_size


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO])
def test_a_failed_write_is_taken_back(path: Path, file: JournalFile, disk: Disk, error: int) -> None:
    disk.fails = lambda call, _: error if call == "pwrite" else None
    for seed in range(5):
        disk.seed(seed)
        with pytest.raises(OSError, match=f"Errno {error}"):
            file.append(LINE)
        assert generation(path) == 0
    disk.fails = lambda *_: None
    assert file.given_up is None
    file.append(LINE)
    assert generation(path) == 1


@pytest.mark.parametrize("failing", [{"pwrite", "ftruncate"}, {"fdatasync"}, {"fdatasync", "ftruncate"}])
def test_a_file_is_given_up(path: Path, file: JournalFile, disk: Disk, failing: set[str]) -> None:
    disk.fails = lambda call, _: errno.EIO if call in failing else None
    with pytest.raises(OSError, match="Input/output error"):
        file.append(LINE)
    assert file.given_up is not None
    if "ftruncate" not in failing:
        assert generation(path) == 0


def test_a_successor_holds_everything(path: Path, file: JournalFile) -> None:
    history = History(base=EMPTY, base_generation=3, entries=(added(4), added(5)))
    new = succeed(path, history, (entry_line(added(6), no_rest),))
    new.append(entry_line(added(7), no_rest))
    new.close()
    assert generation(path) == 7
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("call", ["pwrite", "fdatasync", "fsync", "rename"])
def test_a_successor_that_fails_leaves_the_old_file(path: Path, file: JournalFile, disk: Disk, call: str) -> None:
    file.append(LINE)
    failed: list[str] = []

    def fails_once(name: str, _: int) -> int | None:
        if name != call or failed:
            return None
        failed.append(name)
        return errno.ENOSPC

    disk.fails = fails_once
    with pytest.raises(OSError, match="No space left"):
        succeed(path, History(base=EMPTY, base_generation=5)).close()
    assert generation(path) == 1
    file.append(entry_line(added(2), no_rest))
    assert generation(path) == 2
    assert list(path.parent.iterdir()) == [path]


def test_a_name_that_may_not_last_gives_the_file_up(path: Path, file: JournalFile, disk: Disk) -> None:
    renamed: list[str] = []

    def fails_after_the_rename(name: str, _: int) -> int | None:
        if name == "rename":
            renamed.append(name)
        return errno.EIO if name == "fsync" and renamed else None

    disk.fails = fails_after_the_rename
    new = succeed(path, History(base=EMPTY, base_generation=5))
    assert new.given_up is not None
    assert generation(path) == 5
    new.close()


def test_opening_cuts_and_syncs(path: Path, file: JournalFile, disk: Disk) -> None:
    size = path.stat().st_size
    with path.open("ab") as tail:
        tail.write(LINE[:-5])
    again = open_file(path, base_size=size, size=size, entries=0)
    assert disk.calls == ["ftruncate", "fsync", "fsync"]
    again.append(LINE)
    again.close()
    assert generation(path) == 1


def test_opening_fails(path: Path, file: JournalFile, disk: Disk) -> None:
    disk.fails = lambda call, _: errno.EIO if call == "fsync" else None
    with pytest.raises(OSError, match="Input/output"):
        open_file(path, base_size=1, size=1, entries=0)


def test_what_is_long(path: Path) -> None:
    """Many entries, and more of them than base: then making a new file costs less than has been saved."""
    for entries, size, is_long in [(LONG, 999, False), (LONG + 1, 200, False), (LONG + 1, 201, True)]:
        path.touch()
        file = open_file(path, base_size=100, size=size, entries=entries)
        assert file.is_long is is_long
        file.close()
