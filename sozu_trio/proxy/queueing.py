"""Connections to the backends of a cluster that may have only so many, and the requests that wait for one.

All workers count together. Who waits is served in order here, and nobody who comes later gets by; between workers there
is no order, but each gets its share: a connection that becomes free goes to one of all who wait, so that here it may
have to be left to others, by chance. One that is left wakes the first at once. For what becomes free in other workers
it looks again every LOOK seconds, since these tell nobody. While somebody waits, connections that are idle in other
workers are closed there: they count as well and serve nobody.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import trio

from sozu_trio.errors import BackendsFull
from sozu_trio.nursery.tally import Tally

if TYPE_CHECKING:
    from sozu_trio.proxy.backends import ClusterState

LOOK: Final = 0.01
"""Seconds: 0.3 % of a processor while somebody waits, and how long a connection may lie idle that is left to others."""


class Gauge:
    """A number that goes up and down, as this worker and as all together have counted it."""

    __slots__ = ("_key", "_tally", "here")

    def __init__(self, tally: Tally, *what: bytes) -> None:
        self._tally = tally
        self._key = tally.key(*what)
        self.here = 0
        """What the others see of it; less than was counted where the Tally had no room."""

    def change(self, by: int) -> None:
        if by > 0:
            self.here += by * self._tally.add(self._key, by)
        for _ in range(min(-by, self.here)):
            self.here -= 1
            self._tally.give(self._key)

    def total(self) -> int:
        """Of all workers."""
        return self._tally.total(self._key)


class Queue:
    """Of one cluster, over all Tables in which it has a limit."""

    def __init__(self, tally: Tally, cluster_id: str, everyone: Gauge, random: Callable[[], float]) -> None:
        """`everyone` counts all who wait, in whatever cluster; `random` gives numbers uniform in [0, 1)."""
        self._random = random
        self.cluster: ClusterState | None = None
        """As it is configured now; None = it is not there any more."""
        self.connections = Gauge(tally, b"cluster", cluster_id.encode())
        self._name = cluster_id
        self._waiting: dict[Place, None] = {}
        self._waits = Gauge(tally, b"waiting", cluster_id.encode())
        self._everyone = everyone

    def __len__(self) -> int:
        """Those who wait in this worker."""
        return len(self._waiting)

    def wake(self) -> None:
        """Something has changed: let the first who waits look again."""
        for first in self._waiting:
            first.event.set()
            return

    def freed(self) -> None:
        """A connection has ended: there is room for another one, here or elsewhere."""
        if self._waiting and not self.is_theirs():
            self.wake()

    def is_theirs(self) -> bool:
        """Whether what has become free is to be left to those who wait in other workers."""
        others = self._others()
        return others > 0 and self._random() * (others + len(self._waiting)) < others

    def _others(self) -> int:
        return self._waits.total() - self._waits.here

    @contextmanager
    def place(self) -> Iterator["Place"]:
        """A place at the end. Raises BackendsFull where there is none."""
        cluster = self.cluster
        most = 0 if cluster is None else cluster.cluster.max_queue
        if len(self._waiting) >= most:
            raise BackendsFull(f"cluster {self._name} has all the connections it may have, and {most} wait already")
        place = Place(self)
        self._waiting[place] = None
        self._count(1)
        try:
            yield place
        finally:
            del self._waiting[place]
            self._count(-1)
            self.wake()

    def _count(self, change: int) -> None:
        self._waits.change(change)
        self._everyone.change(change)

    def is_first(self, place: "Place") -> bool:
        return next(iter(self._waiting)) is place

    def yield_idle(self) -> None:
        """Close what nobody uses here, as somebody waits in another worker."""
        if self.cluster is None or not self._others():
            return
        for state in self.cluster:
            state.close_idle()


class Place:
    """One who waits."""

    __slots__ = ("_queue", "event")

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self.event = trio.Event()

    async def turn(self) -> None:
        """Wait until it is the first, and something may have changed since it has looked last."""
        while True:
            with trio.move_on_after(LOOK if self._queue.is_first(self) else math.inf):
                await self.event.wait()
            self.event = trio.Event()
            if self._queue.is_first(self):
                return
