"""The open file of a journal: it grows by whole lines, durably, or stays as it was. Everything here blocks.

Only what stands at the journal's path is found by the next start. So before a line is added there is a look at whether
that is still this file, and not one that somebody moved there, or none.

When a sync has failed nobody knows what the disk holds, and the next one that succeeds says nothing about the pages of
the first (https://lwn.net/Articles/752063/). Such a file is given up: it takes nothing more until all that was
acknowledged stands in a new one.
"""

import errno
import os
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Final

from sozu_trio.control.history import KEPT, History
from sozu_trio.control.journal_lines import Line, Rest, base_lines, entry_line
from sozu_trio.control.write import NewFile, sync_directory, write_at

LONG: Final = 2 * KEPT
"""Entries up to which a new file would hardly be shorter."""


class JournalFile:
    """Sizes are in bytes."""

    def __init__(self, fd: int, *, base_size: int, size: int, entries: int) -> None:
        """Takes `fd` over. `base_size`: what comes before the first entry; `size`: the end of all that is good."""
        self.size = size
        self.given_up: OSError | None = None
        """Why it takes nothing more."""
        self._fd = fd
        self._base_size = base_size
        self._entries = entries

    @property
    def is_long(self) -> bool:
        """Whether a shorter file is worth its making: what it saves is more than what has to be written for it."""
        return self._entries > LONG and self.size > 2 * self._base_size

    def append(self, line: Line) -> None:
        """Durably. Raises OSError: then it is not there, or the file is given up."""
        try:
            write_at(self._fd, line, self.size)
        except OSError:
            self._cut()
            raise
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            self._cut()
            self.given_up = error
            raise
        self.size += len(line)
        self._entries += 1

    def look_at(self, path: Path) -> None:
        """Give the file up unless it is the one at `path`."""
        try:
            there = os.path.samestat(os.stat(path), os.fstat(self._fd))
        except OSError as error:
            self.given_up = error
        else:
            if not there:
                self.given_up = OSError(errno.ESTALE, "another file has taken its place")

    def _cut(self) -> None:
        try:
            os.ftruncate(self._fd, self.size)
        except OSError as error:
            self.given_up = error

    def close(self) -> None:
        os.close(self._fd)


def open_file(path: Path, *, base_size: int, size: int, entries: int) -> JournalFile:
    """An existing journal, cut to `size`. All of it is durable then, whoever wrote it. Raises OSError."""
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.ftruncate(fd, size)
        os.fsync(fd)
        sync_directory(path)
    except BaseException:
        os.close(fd)
        raise
    return JournalFile(fd, base_size=base_size, size=size, entries=entries)


class Successor:
    """A journal in the making that holds a whole history; whatever is acknowledged meanwhile is given to `finish`.

    Close it in any case.
    """

    def __init__(self, path: Path, history: History, rest: Rest) -> None:
        """Raises OSError. `rest` is called now and then."""
        self._new = NewFile(path)
        self._size = 0
        self._entries = len(history.entries)
        try:
            self._write(base_lines(history.base, history.base_generation, rest))
            self._base_size = self._size
            self._write(entry_line(entry, rest) for entry in history.entries)
            os.fdatasync(self._new.fd)
        except BaseException:
            self._new.close()
            raise

    def _write(self, lines: Iterable[Line]) -> None:
        for line in lines:
            write_at(self._new.fd, line, self._size)
            self._size += len(line)

    def finish(self, lines: Collection[Line]) -> JournalFile:
        """Add `lines` and take the place of the old file, which is as good as before where this raises OSError.

        If it cannot be known whether the old or the new file is found after a crash, the new one is given up.
        """
        self._write(lines)
        given_up = None
        try:
            self._new.take_its_place()
        except OSError as error:
            if not self._new.in_place:
                raise
            given_up = error
        entries = self._entries + len(lines)
        file = JournalFile(self._new.keep(), base_size=self._base_size, size=self._size, entries=entries)
        file.given_up = given_up
        return file

    def close(self) -> None:
        self._new.close()
