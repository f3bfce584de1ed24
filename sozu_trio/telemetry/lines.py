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
        self._lines: deque[str] = deque()
        self._counting = threading.Lock()
        self._sleeper: tuple[trio.lowlevel.TrioToken, trio.Event] | None = None

    def append(self, line: str) -> None:
        if len(self._lines) >= self.capacity:
            self.drop(1)
        else:
            self._lines.append(line)
            self.wake()

    def take(self, most: int) -> list[str]:
        """Up to `most` lines, the oldest first. May be called from any thread, but only one at a time."""
        return [self._lines.popleft() for _ in range(min(most, len(self._lines)))]

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
            if self._lines:
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
