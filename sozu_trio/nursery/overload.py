"""When a worker has more to do than it can, and whom it then turns away.

All that can go on goes on once in each pass of the loop, so a pass is what everybody waits for, again and again. A
window of time has a lag: what somebody who comes at a random moment of it waits for the end of the pass (the sum of the
squares of all passes, by the length of the window; idle time counts as none), and with it the time for which
connections wait in the kernel's queue, by its length. One stall says nothing. As in CoDel (RFC 8289) it takes a lag
that stays: above `overload_lag` in all windows of 100 ms.

From then on one is let in per pass, which keeps passes short, and the queue is kept so short that it takes a quarter of
`overload_lag`: who has waited longest in it is turned away, which costs a sixth of serving. It ends when for a second
nobody had to be, and the lag was half of what is allowed.

Passes are measured by an instrument of Trio's: nothing wakes up for it.
"""

import logging
import socket
import struct
import time
from collections.abc import Callable
from typing import Final, Self

import trio

log = logging.getLogger(__name__)

WINDOW: Final = 0.025
"""Seconds of a window, at least: it ends with a pass."""
WINDOWS: Final = 4
"""Windows in a row that say that the lag stays."""
CALM: Final = 1.0
"""Seconds without trouble after which it is over."""
BATCH: Final = 16
"""Connections taken per wake-up: enough to empty a burst, few enough that established sessions are not kept waiting."""
BATCH_OF_OVERLOADED: Final = 1
"""The same while there is too much to do: few are served at once, and soon done. Where these wait for their backends
passes are short, and let in more. At twice the load half of all answers took 3.8 ms with 4, and 1.0 with 1.
"""
AT_ONCE: Final = 256
"""Connections turned away per wake-up: 10 ms at most."""
QUEUE_SHARE: Final = 0.25
"""Of the lag that is allowed, for the kernel's queue."""
_QUEUED: Final = struct.Struct("24xI")
"""Where `struct tcp_info` says how many wait in the queue of a listening socket (linux/tcp.h)."""


def queued(listening: socket.socket) -> int:
    """How many connections wait to be accepted; 0 where the kernel does not say."""
    try:
        number: int = _QUEUED.unpack(listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _QUEUED.size))[0]
    except (OSError, struct.error):
        return 0
    return number


class Overload:
    """Of one worker. `now` of its methods is in seconds, of a clock that goes on while the loop is held."""

    def __init__(self, tell: Callable[[bool], None] = lambda overloaded: None) -> None:
        """`tell` is called when it begins (True) and when it has ended."""
        self._tell = tell
        self.is_on = False
        """There is too much to do."""
        self.limit = 0.0
        """Seconds of lag that are allowed; 0 = any."""
        self.batch = BATCH
        """Connections to be taken per wake-up."""
        self._pass = 0.0
        self._squares = 0.0
        self._waited = 0.0
        self._since = 0.0
        self._windows = 0
        self._trouble = 0.0
        self._instrument: _Passes | None = None

    def follow(self, milliseconds: int) -> None:
        """Allow so much lag from now on; 0 = any. In Trio."""
        self.limit = milliseconds / 1000
        if self.limit and self._instrument is None:
            self._instrument = _Passes(self)
            trio.lowlevel.add_instrument(self._instrument)
        elif not self.limit and self._instrument is not None:
            self.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Measure no more; it is over, if it had begun."""
        if self._instrument is not None:
            trio.lowlevel.remove_instrument(self._instrument)
            self._instrument = None
        if self.is_on:
            self._turn(False)

    def admission(self, listening: socket.socket) -> tuple[int, int]:
        """How many of those in the queue are to be turned away now, the first ones of it; and how many of those after
        them are to be let in.
        """
        if not self.is_on:
            return 0, self.batch
        # Who is let in has some passes of its own after those of the queue, which therefore gets a part of the time.
        # One batch is taken now, however long the last pass was: perhaps because of those who were turned away in it.
        allowed = self.batch * max(1, int(self.limit * QUEUE_SHARE / self._pass)) if self._pass > 0 else self.batch
        excess = max(0, queued(listening) - allowed)
        # Where that does not bring the queue down, those after them have waited for too long, too.
        return (excess, self.batch) if excess <= AT_ONCE else (AT_ONCE, 0)

    def turned_away(self) -> None:
        """Somebody was, so it is not over."""
        self._trouble = self._since

    def fell_behind(self, listening: socket.socket) -> None:
        """A whole batch was taken, and there may be more."""
        if self.limit:
            self._waited = max(self._waited, queued(listening) / self.batch * self._pass)

    def passed(self, seconds: float) -> None:
        """A pass of the loop took so long."""
        self._pass = seconds
        self._squares += seconds * seconds

    def look(self, now: float) -> None:
        """Between two passes: end the window, if it has lasted."""
        length = now - self._since
        if length < WINDOW:
            return
        lag = self._squares / length + self._waited
        self._squares = self._waited = 0.0
        self._since = now
        self._judge(lag, now)

    def _judge(self, lag: float, now: float) -> None:
        self._windows = self._windows + 1 if lag > self.limit else 0
        if lag > self.limit / 2:
            self._trouble = now
        if not self.is_on and self._windows >= WINDOWS:
            log.warning("overloaded: lag %.0f ms, overload_lag is %.0f: shedding", lag * 1e3, self.limit * 1e3)
            self._turn(True)
        elif self.is_on and now - self._trouble >= CALM:
            self._turn(False)

    def _turn(self, on: bool) -> None:
        self.is_on = on
        self.batch = BATCH_OF_OVERLOADED if on else BATCH
        if not on:
            log.warning("not overloaded any more")
        self._tell(on)


class _Passes(trio.abc.Instrument):
    """Times the passes of Trio's loop."""

    def __init__(self, overload: Overload) -> None:
        self._overload = overload
        self._woke = time.perf_counter()

    def before_io_wait(self, timeout: float) -> None:
        self._overload.passed(time.perf_counter() - self._woke)

    def after_io_wait(self, timeout: float) -> None:
        self._woke = now = time.perf_counter()
        # Not before the wait: whoever were woken then would wait for its end.
        self._overload.look(now)
