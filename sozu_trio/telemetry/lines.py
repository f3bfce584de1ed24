"""A bounded buffer of lines between all those who log and the one who writes.

Appending never waits and never fails, from the loop, from another thread or before the loop runs: a slow log target
must not slow traffic. What is over capacity is dropped and counted, and the count comes out as a line later
(`telemetry/sink.py`). So is what would take too much memory: lines are as long as clients make them.

A line that has yet to be made from something may be left to whoever takes it, in the thread where they are taken: many
in one go cost less than each between two other things, by 7 % of all that a small request costs on 64 connections.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from itertools import repeat
from typing import Any, Final, TypeVar

import trio

log = logging.getLogger(__name__)
_T = TypeVar("_T")

LONGEST: Final = 1 << 19
"""Characters of a line; a longer one is dropped. A head makes 330,000 at most: 64 KiB, each byte `\\\\xff` in JSON."""
CHARACTERS: Final = 1 << 24
"""Held at most: for each of 8192 lines ten times what one has mostly."""
TOGETHER: Final = 64
"""Lines that are made at the latest when there are so many: half a millisecond of CPU."""
HEAVY: Final = 1 << 15
"""Characters of what lines are to be made of, from which they are made: what is not printable takes 0.2 µs each."""


class LineBuffer:
    """Holds up to `capacity` lines, and no more than CHARACTERS. Any thread may append; one task waits.

    Lines for later are used alone, or their place among the others is not as they came.
    """

    def __init__(self, capacity: int) -> None:
        self.dropped = 0
        """Lines lost so far, over capacity or in a target that failed."""
        self.capacity = capacity
        self._entries: deque[tuple[int, str]] = deque()
        """How many lines each, and their text."""
        self._later: list[tuple[Callable[[Any], str], Any]] = []
        """Lines yet to be made: how, and from what."""
        self._weight = 0
        """Characters of that."""
        self._beyond = 0
        """Lines held beyond one per entry."""
        self._characters = 0
        # The collector of garbage may log in the middle of all this.
        self._counting = threading.RLock()
        self._sleeper: tuple[trio.lowlevel.TrioToken, trio.Event] | None = None

    @property
    def held(self) -> int:
        """How many lines there are now."""
        return len(self._entries) + self._beyond + len(self._later)

    def append(self, line: str) -> None:
        size = len(line)
        if len(self._entries) + self._beyond >= self.capacity or size > LONGEST or self._characters + size > CHARACTERS:
            self.drop(1)
            return
        with self._counting:
            self._characters += size
        self._entries.append((1, line))
        if self._sleeper is not None:
            self.wake()

    def append_later(self, make: Callable[[_T], str], of: _T, weight: int) -> None:
        """Append `make(of)` when somebody takes lines, or with some that come later; `weight`: about how many
        characters there are to look at. `of` must stay as it is. A line that `make` fails to make is logged and lost.
        """
        if self.held >= self.capacity:
            self.drop(1)
            return
        self._later.append((make, of))
        self._weight += weight
        if self._weight > HEAVY or len(self._later) >= TOGETHER:
            self._make_lines()
        elif self._sleeper is not None:
            self.wake()

    def _make_lines(self) -> None:
        later, self._later, self._weight = self._later, [], 0
        lines = []
        for make, of in later:
            try:
                lines.append(make(of))
            except Exception:
                # It must not harm who happens to take it.
                log.exception("a line could not be made")
                self.drop(1)
        size = sum(map(len, lines))
        if self.held + len(lines) > self.capacity or size > LONGEST or self._characters + size > CHARACTERS:
            for line in lines:
                self.append(line)
            return
        with self._counting:
            self._characters += size
        self._entries.extend(zip(repeat(1), lines))
        self.wake()

    def append_block(self, block: str) -> None:
        """Append lines separated by line feeds, none of them a traceback's; as many as there is room for."""
        count = block.count("\n") + 1
        room = self.capacity - self.held
        if count > room:
            self.drop(count - max(0, room))
            if room <= 0:
                return
            count, block = room, "\n".join(block.split("\n", room)[:room])
        if self._characters + len(block) > CHARACTERS:
            self.drop(count)
            return
        with self._counting:
            self._beyond += count - 1
            self._characters += len(block)
        self._entries.append((count, block))
        self.wake()

    def take(self, most: int, characters: int = CHARACTERS) -> list[str]:
        """Up to `most` lines or blocks, the oldest first; none more once these have `characters`. May be called from
        any thread, but only one at a time.
        """
        if self._later:
            self._make_lines()
        taken: list[str] = []
        lines = size = 0
        while self._entries and len(taken) < most and size < characters:
            count, text = self._entries.popleft()
            taken.append(text)
            lines, size = lines + count, size + len(text)
        if taken:
            with self._counting:
                self._beyond -= lines - len(taken)
                self._characters -= size
        return taken

    def drop(self, count: int) -> None:
        """Count lines that will never be written."""
        with self._counting:
            self.dropped += count

    async def wait(self) -> None:
        """Until there is something, or until `wake`. One task at a time."""
        # The sleeper is in place before we look, so a line appended by a thread in between wakes us all the same.
        event = trio.Event()
        self._sleeper = trio.lowlevel.current_trio_token(), event
        try:
            if self._entries or self._later:
                event.set()
            await event.wait()
        finally:
            self._sleeper = None

    def wake(self) -> None:
        """Make `wait` return although there may be nothing."""
        sleeper, self._sleeper = self._sleeper, None
        if sleeper is not None:
            token, event = sleeper
            with suppress(trio.RunFinishedError):
                token.run_sync_soon(event.set)


def lines_in(text: str) -> int:
    """How many lines a line or block is. A traceback, its lines beginning with a tab, belongs to the line before it."""
    return 1 + text.count("\n") - text.count("\n\t")
