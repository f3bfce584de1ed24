"""What a worker tells main unasked: access-log lines, events, counters. None of it ever holds up traffic."""

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

import trio

from sozu_trio.config.limits import GOODBYE
from sozu_trio.control.channel import Channel
from sozu_trio.control.messages import Ask, Counted, Happened, Lines
from sozu_trio.telemetry.counters import Counters
from sozu_trio.telemetry.lines import LineBuffer

LINES_PER_MESSAGE = 256
"""Enough that a message costs little per line, few enough that it mostly stays below INLINE_SIZE."""
LINES_PERIOD = 0.05
"""Seconds lines are collected for one message."""
COUNTS_PERIOD = 1.0
"""Seconds between two looks at whether something was counted."""
EVENTS = 1000
"""Events that wait for a main that does not read; older ones are dropped and counted."""


class Telling:
    """The worker's end of `channel`, for reports. Main may be gone at any time; `control` notices that."""

    def __init__(self, channel: Channel[Ask], lines: LineBuffer, counters: Counters) -> None:
        self._channel = channel
        self._lines = lines
        self._counters = counters
        self._unsent: list[str] = []
        self._drops_told = 0
        self._events: deque[Happened] = deque()
        self._something = trio.Event()
        self._counts_told: tuple[int, ...] = ()

    @property
    def services(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """To be run beside the sessions, by name. When they are cancelled they tell what is left."""
        return {"lines": self._send_lines, "events": self._send_events, "counters": self._send_counts}

    def happened(self, event: Happened) -> None:
        """Tell main when it reads; never blocks."""
        if len(self._events) == EVENTS:
            self._events.popleft()
            self._counters.events_dropped += 1
        self._events.append(event)
        self._something.set()

    async def count(self) -> None:
        """Tell main the counters as they are now."""
        numbers = self._counters.numbers()
        with contextlib.suppress(OSError):
            await self._channel.send(Counted(counters=numbers))
            self._counts_told = numbers

    async def _send_counts(self) -> None:
        while True:
            await trio.sleep(COUNTS_PERIOD)
            if self._counters.numbers() != self._counts_told:
                await self.count()

    async def _send_events(self) -> None:
        try:
            while True:
                await self._something.wait()
                self._something = trio.Event()
                await self._send_waiting_events()
        finally:
            with trio.move_on_after(GOODBYE, shield=True):
                await self._send_waiting_events()

    async def _send_waiting_events(self) -> None:
        while self._events:
            event = self._events.popleft()
            try:
                await self._channel.send(event)
            except trio.Cancelled:
                # A send that is cancelled has sent nothing.
                self._events.appendleft(event)
                raise
            except OSError:
                self._counters.events_dropped += 1

    async def _send_lines(self) -> None:
        try:
            while True:
                await self._lines.wait()
                await trio.sleep(LINES_PERIOD)
                await self._send_batches()
        finally:
            with trio.move_on_after(GOODBYE, shield=True):
                await self._send_batches()

    async def _send_batches(self) -> None:
        lines = self._lines
        while batch := self._unsent or lines.take(LINES_PER_MESSAGE):
            # A send that is cancelled has sent nothing.
            self._unsent = batch
            dropped = lines.dropped
            try:
                await self._channel.send(Lines(lines="\n".join(batch), dropped=dropped - self._drops_told))
                self._drops_told = dropped
            except OSError:
                # Main is gone and its logs with it, or there is no descriptor for a large batch.
                lines.drop(len(batch))
            self._unsent = []
