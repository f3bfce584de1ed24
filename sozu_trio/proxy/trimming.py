"""Memory that nobody uses is given back to the kernel: when a crowd has left, and every half minute.

The allocator keeps what was freed among what still lives: 300 clients that did not read have left 30 MiB of a worker of
70 MiB for good. `malloc_trim` gives all whole pages of it back, in 1 to 7 ms (measured).

Python takes what is small from arenas of 1 MiB, and each goes back as soon as nothing in it lives. Two kinds of objects
keep them. Those that Python stores for reuse, 2,000 tuples of each length, say: a full collection frees them. And those
that were made among the crowd and still live: what the worker's own waits consist of, and connections to backends kept
for reuse. These leave with time, for waits are made anew and idle connections end. So it is done when most of a crowd
has gone, and again and again for a minute. Of 31 MiB that 4,000 idle connections took, 28 stayed with `malloc_trim`
alone; now it is 16 to 21 after 13 s, and 12 to 16 after a minute.

A full collection looks at all sessions: 10 ms for 500 of them, 75 ms for 2,000. Where more than FEW are left it waits
for a better time. What came before the first session is frozen (`nursery/garbage.py`), and costs nothing.

Buffers of all sizes leave holes among what lives even where as many come as go: with ten clients and messages of up to
256 KiB a MiB in each worker, within a minute.
"""

from collections.abc import Callable

from sozu_trio.nursery.memory import give_back, trim

CROWD = 64
"""Sessions, at the least, whose leaving is worth it."""
FEW = 256
"""Sessions for which a full collection is not too long: 5 ms."""
AGAIN = 10
"""Looks from one time to the next, once most of a crowd has left."""
TIMES = 6
"""How often it is done again: until connections to backends that nobody uses have ended, by default after 30 s."""
REGULARLY = 30
"""Looks from one time to the next where no crowd has left."""


class Trimming:
    """Told once a second how many sessions there are, it gives back when more than half of a crowd has gone, and TIMES
    times more; and what is free anyhow, from time to time.
    """

    def __init__(self, release: Callable[[], None] = give_back, part: Callable[[], None] = trim) -> None:
        """`release` gives back all there is, `part` what can be had without looking at sessions."""
        self._release = release
        self._part = part
        self._most = 0
        self._looks_left = 0
        """Until the last time; 0 = it need not."""
        self._looks = 0
        """Since the last time at which no crowd had left."""

    def look(self, sessions: int) -> None:
        """There are so many now."""
        self._most = max(self._most, sessions)
        if self._most >= CROWD and sessions < self._most // 2:
            self._most = sessions
            self._looks_left = AGAIN * TIMES
            self._give_back(sessions)
        elif self._looks_left:
            self._looks_left -= 1
            if self._looks_left % AGAIN == 0:
                self._give_back(sessions)
        else:
            self._looks = (self._looks + 1) % REGULARLY
            if not self._looks:
                self._part()

    def _give_back(self, sessions: int) -> None:
        (self._release if sessions <= FEW else self._part)()
