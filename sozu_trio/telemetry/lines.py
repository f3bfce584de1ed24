"""A bounded buffer of lines between all those who log and the one who writes.

Appending never waits and never fails, from the loop, from another thread or before the loop runs: a slow log target
must not slow traffic. What is over capacity is dropped and counted, and the count comes out as a line later
(`telemetry/sink.py`).
"""

import threading
from collections import deque
from contextlib import suppress

import trio


class LineBuffer:
    """Holds up to `capacity` lines. Any thread may append; one task waits."""

    def __init__(self, capacity: int) -> None:
        self.dropped = 0
        """Lines lost so far, over capacity or in a target that failed."""
        self.capacity = capacity
        self._entries: deque[tuple[int, str]] = deque()
        """How many lines each, and their text."""
        self._beyond = 0
        """Lines held beyond one per entry."""
        self._counting = threading.Lock()
        self._sleeper: tuple[trio.lowlevel.TrioToken, trio.Event] | None = None

    def append(self, line: str) -> None:
        if len(self._entries) + self._beyond >= self.capacity:
            self.drop(1)
        else:
            self._entries.append((1, line))
            self.wake()

    def append_block(self, block: str) -> None:
        """Append lines separated by line feeds, none of them a traceback's; as many as there is room for."""
        count = block.count("\n") + 1
        room = self.capacity - len(self._entries) - self._beyond
        if count > room:
            self.drop(count - max(0, room))
            if room <= 0:
                return
            count, block = room, "\n".join(block.split("\n", room)[:room])
        with self._counting:
            self._beyond += count - 1
        self._entries.append((count, block))
        self.wake()

    def take(self, most: int) -> list[str]:
        """Up to `most` lines or blocks, the oldest first. May be called from any thread, but only one at a time."""
        taken = [self._entries.popleft() for _ in range(min(most, len(self._entries)))]
        beyond = sum([count for count, _ in taken]) - len(taken)
        if beyond:
            with self._counting:
                self._beyond -= beyond
        return [text for _, text in taken]

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
            if self._entries:
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
