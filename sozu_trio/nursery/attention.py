"""How much of main's time one worker may have.

What a worker says is read by the one loop that also answers `ctl` and the other workers. One that says more than main
can read in its share of the time is read more slowly: it waits, as any writer does whose reader is slow, and events and
lines that it cannot get rid of it drops and counts itself. A message costs what it took to read and to act on, and at
least MESSAGE. A line of the access log takes 1 µs, as JSON 6.
"""

import time
from typing import Final

import trio

SHARE: Final = 0.25
"""Of the time of main's loop, for one worker."""
AT_ONCE: Final = 0.5
"""Seconds of it that a worker which was silent may have without a break: 2,500 events, or an answer of 16 MiB."""
MESSAGE: Final = 0.0002
"""Seconds that a message takes at least: one turn of the loop."""


class Attention:
    """Main's, for one worker."""

    def __init__(self) -> None:
        self._left = AT_ONCE
        """Seconds it may have now; below 0 it has had more than its share."""
        self._counted_at = trio.current_time()

    async def pay(self, since: float) -> None:
        """A message was read and acted on, beginning at `since` in seconds of `time.perf_counter`. Returns when the
        next one may be read.
        """
        now = trio.current_time()
        self._left = min(AT_ONCE, self._left + SHARE * (now - self._counted_at))
        self._counted_at = now
        self._left -= max(MESSAGE, time.perf_counter() - since)
        if self._left < 0:
            await trio.sleep(-self._left / SHARE)
