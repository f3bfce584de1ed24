"""Memory of a worker, and what it does before there is none left: the kernel would kill it, with all its sessions.

Once a second the resident memory is read. From NEAR of the budget on idle clients leave, those that have waited longest
first, and what was kept for reuse is closed; from FULL on nobody is let in any more, until it is below NEAR again. What
is freed goes back to the kernel only if it is asked to take it (malloc_trim(3)).
"""

import ctypes
import gc
import logging
import os
from collections.abc import Callable
from typing import Final

import trio

log = logging.getLogger(__name__)

PERIOD: Final = 1.0
"""Seconds between two looks."""
NEAR: Final = 0.85
FULL: Final = 0.95
"""Parts of the budget."""
SHARE: Final = 0.1
"""Of all sessions so many leave at a look, at least LEAVE: the next look is a second away."""
LEAVE: Final = 16
PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_STATM: Final = 256
"""Bytes of /proc/self/statm, which has seven numbers."""


def open_statm() -> int:
    """A descriptor of the file that says how much memory this process has; before anything forbids to open it."""
    return os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)


def resident(statm: int) -> int:
    """Bytes resident, by proc(5)."""
    return int(os.pread(statm, _STATM, 0).split()[1]) * PAGE


def give_back() -> None:
    """Have garbage collected, and what is free returned to the kernel: 10 ms for 100 MiB."""
    gc.collect()
    trim()


def trim() -> None:
    """Have what is free returned to the kernel; nothing happens where the C library is not glibc."""
    if _TRIM is not None:
        _TRIM(0)


_TRIM: Final = getattr(ctypes.CDLL(None), "malloc_trim", None)
"""Only glibc has it. Looked up now: later no file may be opened."""


class Memory:
    """Of one worker."""

    def __init__(
        self,
        read: Callable[[], int],
        budget: Callable[[], int | None],
        leave: Callable[[], int],
        tell: Callable[[bool], None],
    ) -> None:
        """`read` says how many bytes are resident, and `budget` how many may be, None for any number; `leave` has idle
        clients leave and returns how many did; `tell` is called when it gets short (True) and when there is enough
        again.
        """
        self._read = read
        self._leave = leave
        self._tell = tell
        self._budget = budget
        self.is_near = False
        """The idle leave."""
        self.is_short = False
        """Nobody is let in."""

    async def watch(self) -> None:
        """Look for ever."""
        while True:
            await trio.sleep(PERIOD)
            self.look()

    def look(self) -> None:
        """See to it that there is enough."""
        budget = self._budget()
        if budget is None:
            self._turn(False)
            self.is_near = False
            return
        used = self._read()
        if used >= NEAR * budget:
            self._relieve(used, budget)
            used = self._read()
        elif self.is_near:
            self.is_near = False
            self._turn(False)
        if used >= FULL * budget:
            self._turn(True)

    def _relieve(self, used: int, budget: int) -> None:
        left = self._leave()
        give_back()
        if not self.is_near:
            log.warning("%d MiB of %d are used: %d idle clients leave", used >> 20, budget >> 20, left)
        self.is_near = True

    def _turn(self, short: bool) -> None:
        if short is self.is_short:
            return
        self.is_short = short
        log.warning("memory is short: nobody is let in" if short else "there is memory again: clients are let in")
        self._tell(short)
