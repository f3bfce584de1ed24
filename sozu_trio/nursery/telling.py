"""What a worker tells main unasked: lines of its logs, events, counters. None of it ever holds up traffic."""

import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, Mapping

import trio

from sozu_trio.config.limits import GOODBYE
from sozu_trio.control.messages import Counted, Happened, Lines, Logged
from sozu_trio.nursery.link import Link
from sozu_trio.nursery.telling_lines import LineTeller
from sozu_trio.telemetry.counters import Counters
from sozu_trio.telemetry.lines import LineBuffer

COUNTS_PERIOD = 1.0
"""Seconds between two looks at whether something was counted."""
EVENTS = 1000
"""Events that wait for a main that does not read; older ones are dropped and counted."""


class Telling:
    """Reports to main, which may be gone at any time; `control` notices that."""

    def __init__(self, link: Link, lines: LineBuffer, log: LineBuffer | None, counters: Counters) -> None:
        """`lines` of the access log; `log`: what else is logged, None where that is main's own log."""
        self._link = link
        self._access = LineTeller(link, lines, _access_lines)
        self._log = None if log is None else LineTeller(link, log, _log_lines)
        self._counters = counters
        self._events: deque[Happened] = deque()
        self._something = trio.Event()
        self._counts_told: tuple[int, ...] = ()

    @property
    def services(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """To be run beside the sessions, by name. When they are cancelled they tell what is left."""
        services = {"lines": self._access.serve, "events": self._send_events, "counters": self._send_counts}
        return services if self._log is None else {**services, "log": self._log.serve}

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
            await self._link.send(Counted(counters=numbers))
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
                await self._link.send(event)
            except trio.Cancelled:
                # A send that is cancelled has sent nothing.
                self._events.appendleft(event)
                raise
            except OSError:
                self._counters.events_dropped += 1


def _access_lines(lines: list[str], dropped: int) -> Lines:
    return Lines(lines="\n".join(lines), dropped=dropped)


def _log_lines(lines: list[str], dropped: int) -> Logged:
    return Logged(lines=tuple(lines), dropped=dropped)
