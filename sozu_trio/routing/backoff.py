"""For how long a backend that could not be connected to is left alone: longer with every failure in a row, as in Sōzu.

Only failures to connect count, and one success clears them. What a backend answers is no matter here.
"""

import math
from collections.abc import Callable

DOWN_AFTER = 6
"""Failures in a row from which a backend counts as down. It is still tried whenever its wait is over."""
LONGEST = 6
"""Failures in a row after which the wait grows no more: at most 2^6 − 1 = 63 seconds."""


class BackOff:
    """The record of one backend: `failures` in a row, and until when it waits, in the seconds of `now`."""

    __slots__ = ("failures", "until")

    def __init__(self) -> None:
        self.failures = 0
        self.until = 0.0

    @property
    def is_down(self) -> bool:
        return self.failures >= DOWN_AFTER

    def ready(self, now: float) -> bool:
        """Whether the backend may be tried."""
        return not self.failures or now >= self.until

    def fail(self, now: float, random: Callable[[], float]) -> None:
        """A connection failed. The wait is uniform in 1 … 2^n − 1 seconds after n earlier failures, at least 1.

        Connections that were under way when the wait began tell nothing new by failing too: none is counted meanwhile.
        """
        if not self.ready(now):
            return
        longest = max(1, 2 ** min(self.failures, LONGEST) - 1)
        self.failures += 1
        self.until = now + 1 + random() * (longest - 1)

    def bar(self) -> None:
        """It may never be tried again."""
        self.failures = max(1, self.failures)
        self.until = math.inf

    def succeed(self) -> None:
        """A connection was made."""
        self.failures = 0
        self.until = 0.0
