"""The journal under failures: a crash at any moment, and any call that fails, lose nothing and add nothing."""

import errno
import itertools
from contextlib import closing, suppress
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sozu_trio.config.clusters import Cluster
from sozu_trio.control.journal import Journal
from sozu_trio.errors import JournalError
from sozu_trio.routing.state import EMPTY, State, declare
from tests.control.disk import Disk, PowerCut
from tests.control.test_journal_read import added


class Drill:
    """Changes, one after the other, to a journal on a disk that may fail."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.acknowledged = 0

    def run(self, changes: int) -> None:
        trio.run(self._run, changes)

    async def _run(self, changes: int) -> None:
        with closing(Journal.open(self.path)) as journal:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(journal.serve_compaction)
                for _ in range(changes):
                    with_luck = added(self.acknowledged + 1)
                    try:
                        await journal.append(with_luck)
                    except JournalError:
                        continue
                    self.acknowledged += 1
                nursery.cancel_scope.cancel(reason="enough")


IN_PLACE = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
NUMBERS = itertools.count()


def fresh(directory: Path) -> Path:
    path = directory / f"{next(NUMBERS)}" / "journal"
    path.parent.mkdir()
    Journal.create(path, EMPTY, 0).close()
    return path


@pytest.mark.usefixtures("short_history", "quiet")
@IN_PLACE
@given(crash_at=st.integers(1, 130), seed=st.integers(0, 1000))
def test_a_crash_at_any_moment_loses_nothing_acknowledged(tmp_path: Path, crash_at: int, seed: int) -> None:
    path = fresh(tmp_path)
    drill = Drill(path)
    with pytest.MonkeyPatch.context() as patched:
        disk = Disk(path, patched)
        disk.seed(seed)
        disk.crash_at = crash_at
        try:
            drill.run(30)
        except* PowerCut:
            pass
        found = disk.after_the_crash()
        disk.close()
    assert found is not None
    path.write_bytes(found)
    check_what_is_found(path, {drill.acknowledged, drill.acknowledged + 1})


@pytest.mark.usefixtures("short_history", "quiet")
@IN_PLACE
@given(
    failing=st.dictionaries(st.integers(1, 130), st.sampled_from([errno.ENOSPC, errno.EIO]), max_size=30),
    seed=st.integers(0, 1000),
)
def test_no_failing_call_loses_or_adds_a_change(tmp_path: Path, failing: dict[int, int], seed: int) -> None:
    """Unless nothing can be taken back either: what was refused may be found by the next start then."""
    path = fresh(tmp_path)
    drill = Drill(path)
    with pytest.MonkeyPatch.context() as patched:
        disk = Disk(path, patched)
        disk.seed(seed)
        disk.fails = lambda name, number: failing.get(number) if name != "ftruncate" else None
        with suppress(JournalError):
            drill.run(30)
        disk.fails = lambda *_: None
        drill.run(2)
        disk.close()
    check_what_is_found(path, {drill.acknowledged})


def check_what_is_found(path: Path, generations: set[int]) -> None:
    with closing(Journal.open(path)) as journal:
        generation = journal.history.generation
        assert generation in generations
        assert state_of(journal) == declare(
            [], [Cluster(cluster_id=f"c{number}") for number in range(1, generation + 1)], [], [], []
        )
        assert len(journal.history.entries) >= min(3, generation)


def state_of(journal: Journal) -> State:
    return journal.history.state_at(journal.history.generation)
