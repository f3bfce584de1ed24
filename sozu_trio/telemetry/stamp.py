"""How every line of text begins: `2026-01-31T12:00:00.000042Z 4242 INFO WRK-00`.

The calendar part is made once per second and kept, which leaves one f-string per line.
"""

import os
import time

_COLOURS = {"ERROR": 31, "WARN": 33, "INFO": 32, "DEBUG": 36, "TRACE": 90, "INFO-ACCESS": 32, "ERROR-ACCESS": 31}


class Stamp:
    """Makes line beginnings for one process and tag. Any thread may use it."""

    __slots__ = ("_calendar", "_colored", "pid", "tag")

    def __init__(self, tag: str, *, colored: bool = False) -> None:
        self.tag = tag
        self.pid = os.getpid()
        self._colored = colored
        self._calendar = -1, ""

    def time(self, moment: float) -> str:
        """RFC 3339, UTC, with microseconds, of `moment` in seconds since the epoch."""
        second = int(moment)
        known, calendar = self._calendar
        if second != known:
            calendar = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._calendar = second, calendar  # one assignment, so that no thread sees half of it
        return f"{calendar}.{int((moment - second) * 1e6):06d}Z"

    def line(self, moment: float, level: str, message: str) -> str:
        """`<time> <pid> <level> <tag>⇥<message>`; the level may be coloured for a terminal."""
        if self._colored:
            level = f"\x1b[{_COLOURS.get(level, 0)}m{level}\x1b[0m"
        return f"{self.time(moment)} {self.pid} {level} {self.tag}\t{message}"
