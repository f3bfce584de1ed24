"""Lines of one log of a worker on their way to main: collected, sent many at a time, counted where they are lost."""

from collections.abc import Callable

import trio

from sozu_trio.config.limits import GOODBYE
from sozu_trio.control.messages import Lines, Logged
from sozu_trio.control.sizes import TooLarge
from sozu_trio.nursery.link import Link
from sozu_trio.telemetry.lines import LineBuffer

LINES_PER_MESSAGE = 256
"""Enough that a message costs little per line."""
CHARACTERS_PER_MESSAGE = 60_000
"""Beyond the last line of it, so that it mostly stays below INLINE_SIZE."""
LINES_PERIOD = 0.05
"""Seconds lines are collected for one message."""


class LineTeller:
    """Sends what comes into `lines` as the messages that `make` makes of lines and of how many were dropped before."""

    def __init__(self, link: Link, lines: LineBuffer, make: Callable[[list[str], int], Lines | Logged]) -> None:
        self._link = link
        self._lines = lines
        self._make = make
        self._unsent: list[str] = []
        self._drops_told = 0

    async def serve(self) -> None:
        """Until cancelled; then it sends what is left."""
        try:
            while True:
                await self._lines.wait()
                await trio.sleep(LINES_PERIOD)
                await self._send_batches(but=LINES_PER_MESSAGE - 1)
        finally:
            with trio.move_on_after(GOODBYE, shield=True):
                await self._send_batches(but=0)

    async def _send_batches(self, but: int) -> None:
        """At least one, and then until no more than `but` lines are left: under load some come while others are sent,
        and to send a few at once costs main more than to read many later.
        """
        lines = self._lines
        while batch := self._unsent or lines.take(LINES_PER_MESSAGE, CHARACTERS_PER_MESSAGE):
            # A send that is cancelled has sent nothing.
            self._unsent = batch
            dropped = lines.dropped
            try:
                await self._link.send(self._make(batch, dropped - self._drops_told))
                self._drops_told = dropped
            except BrokenPipeError:
                # The next main gets them, if there will be one.
                if await self._link.regained():
                    continue
                lines.drop(len(batch))
            except (OSError, TooLarge):
                # There is no descriptor for a large batch, or main would not take it.
                lines.drop(len(batch))
            self._unsent = []
            if lines.held <= but:
                break
