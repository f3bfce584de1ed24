"""What is acknowledged is there after any crash, what was refused is not, and the file does not grow for ever."""

import errno
import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import trio
import trio.testing

from sozu_trio.config.clusters import Cluster
from sozu_trio.control import journal as journal_module
from sozu_trio.control import journal_file
from sozu_trio.control.history import KEPT
from sozu_trio.control.journal import Entry, Journal, set_aside
from sozu_trio.errors import CorruptJournal, JournalError
from sozu_trio.routing.delta import Delta
from sozu_trio.routing.state import EMPTY, declare
from tests.control.test_journal_read import added


async def until(condition: Callable[[], bool]) -> None:
    """Threads do their work in real time."""
    with trio.fail_after(10):
        while not condition():
            await trio.lowlevel.checkpoint()


def inode(path: Path) -> int:
    return path.stat().st_ino


def content(path: Path) -> bytes:
    return path.read_bytes()


def take_away(path: Path, foreign: bytes | None) -> None:
    """And put something else in its place, if that is given."""
    path.rename(path.with_name("moved"))
    if foreign is not None:
        path.write_bytes(foreign)


def line_count(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def clusters(journal: Journal) -> list[str]:
    return list(journal.history.state_at(journal.history.generation).clusters)


def names(first: int, last: int) -> list[str]:
    return [f"c{number}" for number in range(first, last + 1)]


async def test_what_is_appended_is_there_again(path: Path) -> None:
    base = declare([], [Cluster(cluster_id="api")], [], [], [])
    with closing(Journal.create(path, base, 4)) as journal:
        for generation in (5, 6):
            await journal.append(added(generation))
        assert journal.history.generation == 6
    with closing(Journal.open(path)) as journal:
        assert journal.history.base == base
        assert journal.history.entries == (added(5), added(6))
        await journal.append(added(7))
    with closing(Journal.open(path)) as journal:
        assert clusters(journal) == ["api", *names(5, 7)]
    assert os.stat(path).st_mode & 0o777 == 0o600


async def test_a_torn_tail_is_cut_off_and_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(Journal.create(path, EMPTY, 0)) as journal:
        await journal.append(added(1))
        await journal.append(added(2))
    os.truncate(path, os.stat(path).st_size - 20)
    torn = content(path).splitlines()[-1]
    with closing(Journal.open(path)) as journal:
        (kept,) = path.parent.glob("journal.torn-2*")
        assert caplog.messages == [
            f"{path}: its last change was never finished; bytes cut off: {len(torn)}, kept as {kept}"
        ]
        assert kept.read_bytes() == torn
        assert clusters(journal) == names(1, 1)
        await journal.append(added(2))
    with closing(Journal.open(path)) as journal:
        assert clusters(journal) == names(1, 2)
    assert len(caplog.messages) == 1


def test_a_torn_tail_that_cannot_be_kept_stops_no_start(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    Journal.create(path, EMPTY, 0).close()
    whole = path.read_bytes()
    path.write_bytes(whole + b"0")
    monkeypatch.setattr(journal_module, "write_atomically", no_space)
    Journal.open(path).close()
    assert path.read_bytes() == whole
    assert "bytes cut off: 1, which cannot be kept as" in caplog.text
    assert caplog.text.endswith(": No space left on device\n")


@pytest.mark.parametrize("foreign", [None, b"a backup\n"])
async def test_a_journal_that_somebody_took_away_is_written_anew(
    path: Path, foreign: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Journal.create(path, EMPTY, 0)) as journal:
        await journal.append(added(1))
        take_away(path, foreign)
        await journal.append(added(2))
        await journal.append(added(3))
    with closing(Journal.open(path)) as journal:
        assert clusters(journal) == names(1, 3)
    assert [each.read_bytes() for each in path.parent.glob("journal.aside-2*")] == ([foreign] if foreign else [])
    assert len(caplog.messages) == (2 if foreign else 1)


def test_a_damaged_journal_is_kept_aside(path: Path) -> None:
    path.write_bytes(b"nonsense\n")
    with pytest.raises(CorruptJournal):
        Journal.open(path)
    aside = set_aside(path)
    assert aside.name.startswith("journal.aside-2")
    assert set_aside(path) != aside
    assert aside.read_bytes() == b"nonsense\n"
    path.unlink()
    with pytest.raises(JournalError, match=r"cannot be kept as .*: No such file"):
        set_aside(path)


def test_what_cannot_be_made_or_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(JournalError, match="missing/journal: cannot be written: No such file"):
        Journal.create(tmp_path / "missing" / "journal", EMPTY, 0)
    with pytest.raises(JournalError, match="cannot be read"):
        Journal.open(tmp_path / "journal")
    Journal.create(tmp_path / "journal", EMPTY, 0).close()
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(JournalError, match="cannot be written: No space"):
        Journal.open(tmp_path / "journal")


def no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


async def test_only_the_next_generation(path: Path) -> None:
    with closing(Journal.create(path, EMPTY, 0)) as journal:
        before = line_count(path)
        with pytest.raises(ValueError, match="does not follow"):
            await journal.append(added(2))
        assert line_count(path) == before


async def test_many_at_once_wait_for_each_other(path: Path) -> None:
    with closing(Journal.create(path, EMPTY, 0)) as journal:
        async with trio.open_nursery() as nursery:
            for generation in range(1, 6):
                nursery.start_soon(journal.append, added(generation))
                await trio.testing.wait_all_tasks_blocked()
    with closing(Journal.open(path)) as journal:
        assert clusters(journal) == names(1, 5)


async def test_cancelled_before_it_begins(path: Path) -> None:
    with closing(Journal.create(path, EMPTY, 0)) as journal:
        with trio.CancelScope() as scope:
            scope.cancel(reason="nobody waits")
            await journal.append(added(1))
        assert scope.cancelled_caught
        assert journal.history.generation == 0
        await journal.append(added(1))
        assert journal.history.generation == 1


async def test_cancelled_in_the_middle_is_finished(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Journal.create(path, EMPTY, 0)) as journal:
        sync = os.fdatasync
        with trio.CancelScope() as scope:

            def cancel_and_sync(fd: int) -> None:
                trio.from_thread.run_sync(lambda: scope.cancel(reason="nobody waits"))
                sync(fd)

            monkeypatch.setattr(os, "fdatasync", cancel_and_sync)
            await journal.append(added(1))
        assert not scope.cancelled_caught
        assert journal.history.generation == 1
    with closing(Journal.open(path)) as journal:
        assert clusters(journal) == names(1, 1)


async def test_after_a_failed_sync_all_is_written_anew(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Journal.create(path, EMPTY, 0)) as journal:
        await journal.append(added(1))
        before = inode(path)
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", no_space)
            for _ in range(2):
                with pytest.raises(JournalError, match="journal: cannot be written: No space left"):
                    await journal.append(added(2))
        assert journal.history.generation == 1
        await journal.append(added(2))
        assert inode(path) != before
        assert "No space left on device; a new file is written" in caplog.text
    with closing(Journal.open(path)) as journal:
        assert clusters(journal) == names(1, 2)


@pytest.mark.usefixtures("short_history")
async def test_the_file_gets_shorter_by_itself(path: Path) -> None:
    with closing(Journal.create(path, EMPTY, 0)) as journal:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal.serve_compaction)
            for first in range(1, 40, 7):
                for generation in range(first, first + 7):
                    await journal.append(entry_of_one_cluster(generation))
                await until(lambda: line_count(path) <= 2 + 6)
            nursery.cancel_scope.cancel(reason="enough")
    with closing(Journal.open(path)) as journal:
        assert journal.history.generation == 42
        assert journal.history.state_at(39).clusters["api"].idle_timeout == 39


def entry_of_one_cluster(generation: int) -> Entry:
    return Entry(
        generation=generation,
        time=0.0,
        uid=0,
        pid=1,
        process="test",
        what="cluster update",
        delta=Delta(clusters=(Cluster(cluster_id="api", idle_timeout=generation),)),
    )


async def test_as_many_generations_are_kept_as_promised(path: Path) -> None:
    with closing(Journal.create(path, EMPTY, 0)) as journal:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal.serve_compaction)
            for generation in range(1, 3 * KEPT + 5):
                await journal.append(entry_of_one_cluster(generation))
            await until(lambda: line_count(path) <= 2 * KEPT + 2)
            nursery.cancel_scope.cancel(reason="enough")
    with closing(Journal.open(path)) as journal:
        assert len(journal.history.entries) >= KEPT
        assert journal.history.generation == 3 * KEPT + 4


@pytest.mark.usefixtures("short_history")
async def test_changes_go_on_while_the_file_gets_shorter(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many more of them than are kept in memory, and the old file is still the one that counts."""
    with closing(Journal.create(path, EMPTY, 0)) as journal:
        for generation in range(1, 9):
            await journal.append(added(generation))
        synced = os.fdatasync
        done = trio.Event()

        def wait_and_sync(fd: int) -> None:
            if os.fstat(fd).st_ino != inode(path) and not done.is_set():
                trio.from_thread.run(done.wait)
            synced(fd)

        monkeypatch.setattr(os, "fdatasync", wait_and_sync)
        before = inode(path)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal.serve_compaction)
            await until(lambda: len(os.listdir(path.parent)) == 2)
            for generation in range(9, 30):
                await journal.append(added(generation))
            assert inode(path) == before
            done.set()
            await until(lambda: inode(path) != before)
            await journal.append(added(30))
            nursery.cancel_scope.cancel(reason="enough")
    with closing(Journal.open(path)) as journal:
        assert clusters(journal) == names(1, 30)


@pytest.mark.usefixtures("short_history")
async def test_a_compaction_that_fails_is_told_and_tried_again_later(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Journal.create(path, EMPTY, 0)) as journal:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(journal.serve_compaction)
            with monkeypatch.context() as patched:
                patched.setattr(os, "rename", no_space)
                generation = 0
                while "cannot be made shorter, and goes on growing: No space" not in caplog.text:
                    generation += 1
                    await journal.append(added(generation))
                # Far less than it takes to double the file, which is what the next attempt waits for.
                for _ in range(2):
                    generation += 1
                    await journal.append(added(generation))
                    await trio.testing.wait_all_tasks_blocked(0.002)
                assert caplog.text.count("cannot be made shorter") == 1
            # The old file is held open, or its inode number would be free for the next one.
            with path.open("rb"):
                before = inode(path)
                for later in range(generation + 1, 2 * generation + 20):
                    await journal.append(added(later))
                await until(lambda: inode(path) != before)
            nursery.cancel_scope.cancel(reason="enough")
    assert os.listdir(path.parent) == [path.name]


async def test_a_compaction_can_be_stopped_between_two_pieces(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    many = declare([], [Cluster(cluster_id=str(number)) for number in range(500)], [], [], [])
    rests = []
    with closing(Journal.create(path, many, 0)) as journal:
        before = inode(path)
        with trio.CancelScope() as scope:

            def rest_and_cancel() -> None:
                rests.append(1)
                trio.from_thread.run_sync(lambda: scope.cancel(reason="shutting down"))

            await journal.append(added(1))
            monkeypatch.setattr(journal_module, "take_turns", rest_and_cancel)
            monkeypatch.setattr(journal_file.JournalFile, "is_long", True)
            await journal.append(added(2))
            await journal.serve_compaction()
        assert scope.cancelled_caught
        assert rests == [1]
        assert inode(path) == before
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.usefixtures("short_history")
def test_what_a_dead_process_left_is_removed(path: Path) -> None:
    Journal.create(path, EMPTY, 0).close()
    unfinished = path.with_name(".journal.x.new")
    unfinished.touch()
    Journal.open(path).close()
    assert not unfinished.exists()
    unfinished.touch()
    Journal.create(path, EMPTY, 0).close()
    assert not unfinished.exists()


@pytest.mark.usefixtures("short_history")
async def test_no_more_than_needed_is_held_in_memory(path: Path) -> None:
    with closing(Journal.create(path, EMPTY, 0)) as journal:
        for generation in range(1, 7):
            await journal.append(added(generation))
    with closing(Journal.open(path)) as journal:
        assert journal.history.entries == tuple(added(generation) for generation in (4, 5, 6))
        assert clusters(journal) == names(1, 6)


@pytest.mark.usefixtures("short_history", "quiet")
async def test_what_cannot_be_taken_back_is_not_built_upon(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with closing(Journal.create(path, EMPTY, 0)) as journal:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fdatasync", no_space)
            patched.setattr(os, "ftruncate", no_space)
            with pytest.raises(JournalError):
                await journal.append(added(1))
        await journal.append(entry_of_one_cluster(1))
    with closing(Journal.open(path)) as journal:
        assert clusters(journal) == ["api"]
