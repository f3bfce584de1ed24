"""Memory that a crowd has left is given back to the kernel.

The allocator keeps what was freed among what still lives: 300 clients that did not read have left 30 MiB of a worker of
70 MiB for good. `malloc_trim` gives all whole pages of it back, in 1 to 7 ms (measured). So it is done once, when most
of a crowd has gone.
"""

from collections.abc import Callable

from sozu_trio.nursery.memory import trim

CROWD = 64
"""Sessions, at the least, whose leaving is worth it."""


class Trimming:
    """Told now and then how many sessions there are, it trims when more than half of a crowd has gone."""

    def __init__(self, release: Callable[[], None] = trim) -> None:
        self._release = release
        self._most = 0

    def look(self, sessions: int) -> None:
        """There are so many now."""
        self._most = max(self._most, sessions)
        if self._most >= CROWD and sessions < self._most // 2:
            self._most = sessions
            self._release()
