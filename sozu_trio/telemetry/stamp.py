"""How every line of text begins: `2026-01-31T12:00:00.000042Z 4242 INFO WRK-00`.

What does not change from line to line is kept: the calendar part for a second, the rest for each level.
"""

import os
import time

_THREE_DIGITS = tuple(f"{number:03d}" for number in range(1000))
_COLOURS = {"ERROR": 31, "WARN": 33, "INFO": 32, "DEBUG": 36, "TRACE": 90, "INFO-ACCESS": 32, "ERROR-ACCESS": 31}


def rfc3339(moment: float) -> str:
    """`2026-01-31T12:00:00.000042Z` of `moment`, in seconds since the epoch."""
    calendar = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    return f"{calendar}.{int(moment % 1 * 1e6):06d}Z"


class Stamp:
    """Makes line beginnings for one process and tag. Any thread may use it."""

    __slots__ = ("_calendar", "_colored", "_origins", "pid", "tag")

    def __init__(self, tag: str, *, colored: bool = False) -> None:
        self.tag = tag
        self.pid = os.getpid()
        self._colored = colored
        self._calendar = -1, ""
        self._origins: dict[str, str] = {}

    def time(self, moment: float) -> str:
        """RFC 3339, UTC, with microseconds, of `moment` in seconds since the epoch."""
        second = int(moment)
        known, calendar = self._calendar
        if second != known:
            calendar = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._calendar = second, calendar  # one assignment, so that no thread sees half of it
        microseconds = int((moment - second) * 1e6)
        return f"{calendar}.{_THREE_DIGITS[microseconds // 1000]}{_THREE_DIGITS[microseconds % 1000]}Z"

    def line(self, moment: float, level: str, message: str) -> str:
        """`<time> <pid> <level> <tag>⇥<message>`; the level may be coloured for a terminal."""
        return f"{self.time(moment)} {self._origins.get(level) or self._origin(level)}\t{message}"

    def _origin(self, level: str) -> str:
        shown = f"\x1b[{_COLOURS.get(level, 0)}m{level}\x1b[0m" if self._colored else level
        origin = self._origins[level] = f"{self.pid} {shown} {self.tag}"
        return origin
