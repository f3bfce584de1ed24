"""A journal's file → the history it holds, and what of it is to be believed.

A file is made whole before it gets its name, and from then on only grows at its end, by one line at a time. So the one
thing that a crash can leave half done is the last line, which then breaks off, or has NULs where a page of it was not
written: it is cut off, since nobody was told that it was done. Anything else that is wrong is damage, be it in the last
line: somebody may rely on that change, and what follows damage can neither be trusted nor left out in silence.
"""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sozu_trio.control.history import Entry, History
from sozu_trio.control.journal_lines import ENTRY, LEAD, Base, document_in, read_entry, read_header
from sozu_trio.errors import CorruptJournal, JournalError
from sozu_trio.routing.delta import amend
from sozu_trio.routing.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What was read. All sizes in bytes."""

    history: History
    """With every entry of the file, however many."""
    size: int
    """Of all that is good."""
    base_size: int
    """Of the header and the base State."""
    cut_off: bytes
    """A last line that was never finished; empty for none."""


def read_journal(path: Path) -> Contents:
    """Raises CorruptJournal for damage, JournalError where the file cannot be read at all. The file stays as it is."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise JournalError(f"{path}: cannot be read: {error.strerror}") from error
    lines = _Lines(str(path), data)
    generation, state = _read_base(lines)
    base_size = lines.at
    entries = tuple(_read_entries(lines, generation))
    _check_changes(lines, state, entries)
    return Contents(
        history=History(base=state, base_generation=generation, entries=entries),
        size=lines.at,
        base_size=base_size,
        cut_off=data[lines.at :],
    )


def _read_base(lines: "_Lines") -> tuple[int, State]:
    try:
        header = read_header(lines.take())
        base = Base()
        for _ in range(header.base_lines):
            base.add(lines.take())
        return header.generation, base.state()
    except ValueError as error:
        raise lines.corrupt(error) from error


def _read_entries(lines: "_Lines", generation: int) -> Iterator[Entry]:
    while lines.are_left:
        try:
            document = lines.take()
        except ValueError as error:
            if lines.end_torn():
                return
            raise lines.corrupt(error) from error
        generation += 1
        try:
            entry = read_entry(document)
        except ValueError as error:
            raise lines.corrupt(error) from error
        if entry.generation != generation:
            raise lines.corrupt(f"generation {entry.generation} stands where {generation} belongs")
        yield entry


def _check_changes(lines: "_Lines", state: State, entries: tuple[Entry, ...]) -> None:
    """Carry all changes out once, so that no later look at the history can fail."""

    def fault(count: int) -> Exception | None:
        try:
            amend(state, *(entry.delta for entry in entries[:count]))
        except (KeyError, ValueError) as error:
            return error
        return None

    if fault(len(entries)):
        count = bisect_left(range(len(entries)), True, key=lambda each: fault(each + 1) is not None) + 1
        lines.line += count - len(entries)
        raise lines.corrupt(f"what it changes is not there: {fault(count)!r}")


class _Lines:
    """The lines of a journal, taken one by one."""

    def __init__(self, path: str, data: bytes) -> None:
        self._path = path
        self._data = data
        self.at = 0
        """Where the next line begins, in bytes."""
        self.line = 0
        """Number of the last line that was looked at, from 1."""

    @property
    def are_left(self) -> bool:
        return self.at < len(self._data)

    def take(self) -> Any:
        """The document of the next line. Raises ValueError for none, and then stays where it is."""
        self.line += 1
        end = self._data.find(b"\n", self.at)
        if end < 0:
            raise ValueError("it breaks off" if self.are_left else "it is missing")
        document = document_in(self._data[self.at : end])
        self.at = end + 1
        return document

    def end_torn(self) -> bool:
        """Whether the line that could not be taken was never finished, which only the last one can be: nothing behind
        it begins like another.
        """
        unfinished = not self._data.endswith(b"\n") or self._data.find(b"\0", self.at) >= 0
        return unfinished and self._data.find(ENTRY, self.at + LEAD + 1) < 0

    def corrupt(self, what: object) -> CorruptJournal:
        return CorruptJournal(self._path, self.line, str(what))
