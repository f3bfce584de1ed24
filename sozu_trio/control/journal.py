"""Every acknowledged change, durably, before it is acknowledged: the file behind State and its history.

What a change costs goes with the change. Every now and then the file is replaced by a shorter one that begins with a
later State; that is done piece by piece in a thread, while changes go on, and the old file counts until the new one is
whole. Whoever uses a Journal makes sure that no other process does.
"""

import contextlib
import errno
import itertools
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Never, TypeVar

import trio

from sozu_trio.control.history import Entry, History
from sozu_trio.control.journal_file import JournalFile, Successor, open_file
from sozu_trio.control.journal_lines import Line, Rest, entry_line, take_turns
from sozu_trio.control.journal_read import read_journal
from sozu_trio.control.write import remove_unfinished, sync_directory, write_atomically
from sozu_trio.errors import JournalError
from sozu_trio.routing.state import State

__all__ = ["Entry", "History", "Journal", "set_aside"]

log = logging.getLogger(__name__)

Done = TypeVar("Done")


def _write_anew(path: Path, history: History, rest: Rest) -> JournalFile:
    new = Successor(path, history, rest)
    try:
        file = new.finish(())
    finally:
        new.close()
    if file.given_up is not None:
        file.close()
        raise file.given_up
    return file


def _take_turns_or_stop() -> None:
    take_turns()
    trio.from_thread.check_cancelled()


def _unwritable(path: Path, error: OSError) -> JournalError:
    return JournalError(f"{path}: cannot be written: {error.strerror}")


def set_aside(path: Path) -> Path:
    """Give a journal that is about to be replaced the name `PATH.aside-<UTC time>` too, which is returned: at no moment
    is there none at `path`. Raises JournalError.
    """
    aside = _free_name(path, "aside")
    try:
        os.link(path, aside)
        sync_directory(path)
    except OSError as error:
        raise JournalError(f"{path}: cannot be kept as {aside}: {error.strerror}") from error
    return aside


def _free_name(path: Path, kind: str) -> Path:
    """For what is kept of a journal: `PATH.KIND-<UTC time>`."""
    name = f"{path.name}.{kind}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(free for each in names if not (free := path.with_name(each)).exists())


def _keep_torn(path: Path, torn: bytes) -> None:
    """A start does not fail for what nobody was promised."""
    kept = _free_name(path, "torn")
    try:
        write_atomically(kept, torn)
    except OSError as error:
        told = f"which cannot be kept as {kept}: {error.strerror}"
    else:
        told = f"kept as {kept}"
    log.warning("%s: its last change was never finished; bytes cut off: %d, %s", path, len(torn), told)


class Journal:
    """Opened by `Journal.open` or `Journal.create`; close it. `serve_compaction` keeps the file short."""

    def __init__(self, path: Path, file: JournalFile, history: History) -> None:
        self.path = path
        self.history = history
        """What is acknowledged. Replaced by a longer one with each change."""
        self._file = file
        self._meanwhile: list[Line] | None = None
        """The latest lines, which a file in the making lacks; None while none is made."""
        self._turn = trio.Lock()
        self._thread = trio.CapacityLimiter(1)
        self._long = trio.Event()
        self._patience = 0
        """Bytes up to which the file may grow before the next attempt to make it shorter."""
        self._look()

    @classmethod
    def open(cls, path: Path) -> "Journal":
        """Go on with a journal. Blocks, for seconds where it is large.

        Raises CorruptJournal for damage, JournalError where the file cannot be read or written.
        """
        contents = read_journal(path)
        entries = len(contents.history.entries)
        try:
            remove_unfinished(path)
            if contents.cut_off:
                _keep_torn(path, contents.cut_off)
            file = open_file(path, base_size=contents.base_size, size=contents.size, entries=entries)
        except OSError as error:
            raise _unwritable(path, error) from error
        return cls(path, file, contents.history.shortened())

    @classmethod
    def create(cls, path: Path, state: State, generation: int) -> "Journal":
        """A journal that begins with `state`, in place of whatever stands at `path`. Blocks. Raises JournalError."""
        history = History(base=state, base_generation=generation)
        try:
            remove_unfinished(path)
            return cls(path, _write_anew(path, history, lambda: None), history)
        except OSError as error:
            raise _unwritable(path, error) from error

    def close(self) -> None:
        self._file.close()

    @contextlib.asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """The file at the path stays as it is while the body runs."""
        async with self._turn:
            yield

    async def append(self, entry: Entry) -> None:
        """Write one change down; it is durable on return. If it is cancelled, it is either finished or not begun.

        Raises JournalError, and then the change is not made; ValueError for a generation that is not the next one.
        """
        async with self._turn:
            try:
                await self._in_thread(lambda: self._file.look_at(self.path))
                if self._file.given_up is not None:
                    await self._give_up()
                self.history, line = await self._in_thread(lambda: self._append(entry))
            except OSError as error:
                raise _unwritable(self.path, error) from error
            if self._meanwhile is not None:
                self._meanwhile.append(line)
            self._look()

    def _append(self, entry: Entry) -> tuple[History, Line]:
        """The history is made first: should that fail, nothing is written."""
        history = self.history.with_entry(entry)
        line = entry_line(entry, take_turns)
        self._file.append(line)
        return history, line

    async def _give_up(self) -> None:
        """Write all that is acknowledged into a new file, as the old one takes nothing more."""
        log.warning("%s: %s; a new file is written", self.path, self._file.given_up)
        self._replace(await self._in_thread(self._write_anew))

    def _write_anew(self) -> JournalFile:
        """What somebody else put there meanwhile may have been meant for the next start."""
        assert self._file.given_up is not None
        if self._file.given_up.errno == errno.ESTALE:
            log.warning("%s: what stands there now is kept as %s", self.path, set_aside(self.path))
        return _write_anew(self.path, self.history, take_turns)

    async def serve_compaction(self) -> Never:
        """Make the file shorter whenever that is worth it, until cancelled."""
        while True:
            await self._long.wait()
            try:
                await self._compact()
            except OSError as error:
                log.warning("%s cannot be made shorter, and goes on growing: %s", self.path, error.strerror)
                self._patience = 2 * self._file.size
            self._long = trio.Event()
            self._look()

    async def _compact(self) -> None:
        history = self.history
        meanwhile: list[Line] = []
        self._meanwhile = meanwhile
        try:
            new = await trio.to_thread.run_sync(lambda: Successor(self.path, history.shortened(), _take_turns_or_stop))
            try:
                async with self._turn:
                    self._replace(await self._in_thread(lambda: new.finish(meanwhile)))
            finally:
                new.close()
        finally:
            self._meanwhile = None

    def _replace(self, file: JournalFile) -> None:
        self._file.close()
        self._file = file
        self._look()

    def _look(self) -> None:
        if self._file.is_long and self._file.size > self._patience:
            self._long.set()

    async def _in_thread(self, work: Callable[[], Done]) -> Done:
        """Not cancelled once it has begun. The thread is always there, whatever else the program waits for."""
        return await trio.to_thread.run_sync(work, limiter=self._thread)
