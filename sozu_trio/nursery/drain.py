"""Soft stop as data: a latch from running to draining that wakes whoever is merely waiting.

A session that waits for the first byte of a request loses nothing when it is woken; one in the middle of something
looks at `started` when it is done. Stopping by cancellation instead would need a shield around everything that should
finish.
"""

import heapq
import itertools
from collections.abc import Iterable
from typing import Protocol

_turns = itertools.count()
"""Says which of two scopes has waited longer, also across drains."""


class Waiter(Protocol):
    """Whoever only waits: a cancel scope, or what keeps one."""

    def cancel(self, reason: str | None = None) -> None: ...


class Drain:
    """Latch with the scopes of those who only wait, oldest first."""

    __slots__ = ("_idle", "_released", "started")

    def __init__(self) -> None:
        self.started = False
        self._idle: dict[Waiter, int] = {}
        self._released: set[Waiter] = set()

    def enter_idle(self, scope: Waiter) -> None:
        """Have `scope` cancelled when the drain starts, or now if it has started. Pair with `leave_idle`."""
        if self.started:
            scope.cancel(reason="draining")
        self._idle[scope] = next(_turns)

    def leave_idle(self, scope: Waiter) -> bool:
        """Whether it was cancelled to get its descriptors back, so that it is to end whatever else it could do."""
        self._idle.pop(scope, None)
        if scope in self._released:
            self._released.remove(scope)
            return True
        return False

    def start(self) -> None:
        self.started = True
        for scope in self._idle:
            scope.cancel(reason="draining")

    def oldest(self, count: int) -> list[tuple[int, Waiter]]:
        """The `count` that have waited longest, each with its turn."""
        return [(turn, scope) for scope, turn in itertools.islice(self._idle.items(), count)]

    @property
    def idle(self) -> list[Waiter]:
        """All who only wait now, oldest first."""
        return list(self._idle)

    def wake(self, scope: Waiter, reason: str) -> None:
        """Cancel `scope` if it still only waits."""
        if self._idle.pop(scope, None) is not None:
            scope.cancel(reason=reason)

    def release(self, scope: Waiter) -> None:
        """Cancel `scope`, which only waits, to get its descriptors back."""
        self._released.add(scope)
        self.wake(scope, "descriptors are needed")


def release_idle(drains: Iterable[Drain], count: int) -> int:
    """Wake the `count` that have waited longest in any of `drains`, to get their descriptors back. Returns how many
    were woken.
    """
    waiting = [(turn, scope, drain) for drain in drains for turn, scope in drain.oldest(count)]
    chosen = heapq.nsmallest(count, waiting, key=lambda entry: entry[0])
    for _, scope, drain in chosen:
        drain.release(scope)
    return len(chosen)
