"""How many client connections there may be, in this worker, in all together, and of one address.

Plain integers: everything happens in one task at a time, and a limiter that waits would queue where we must refuse.
"""

from collections.abc import Callable

from sozu_trio.config.descriptors import fitting, most_descriptors
from sozu_trio.config.program import Settings
from sozu_trio.nursery.places import Places
from sozu_trio.nursery.tally import CONNECTIONS, Tally


class Capacity:
    """`take` succeeds while this worker has fewer than `max_connections`, which is exact, and all workers together
    fewer than `max_connections_total`, which as many as there are other workers may exceed.
    """

    __slots__ = ("_leaving", "_tally", "evicts", "is_closed", "limit", "places", "taken", "total")

    def __init__(self, tally: Tally, settings: Settings) -> None:
        self._tally = tally
        self.taken = 0
        self.places = Places(tally, settings)
        self.is_closed = False
        """Nobody is let in, because memory is short."""
        self._leaving = 0
        """Of these so many have been told to go, to make room."""
        self.follow(settings)

    def follow(self, settings: Settings) -> None:
        """Go by `settings` from now on; who is there already stays."""
        self.limit = fitting(most_descriptors()) if settings.max_connections is None else settings.max_connections
        self.total = settings.max_connections_total
        """0 = any number."""
        self.places.follow(settings)
        self.evicts = settings.evict_on_queue_full
        """Whoever is idle makes room."""

    @property
    def processes(self) -> int:
        """How many workers count together, this one included."""
        return self._tally.processes

    def take(self) -> bool:
        leaving = self._leaving
        if self.taken - leaving >= self.limit:
            return False
        if self.total and self._tally.total(CONNECTIONS) - leaving >= self.total:
            return False
        self.take_beyond()
        return True

    def take_from(self, evict: Callable[[int], int]) -> bool:
        """Take the place of one who is idle: `evict(n)` tells up to n to go, a hundredth of all as in Sōzu, and returns
        how many it found.
        """
        self._leaving += evict(max(1, self.limit // 100))
        return self.take()

    def take_beyond(self) -> None:
        """Take a place even where there is none."""
        self.taken += 1
        self._tally.add(CONNECTIONS)

    def give(self) -> None:
        assert self.taken > 0
        self.taken -= 1
        # It may be another one who goes: then there is more room in a moment than this says.
        self._leaving = max(0, self._leaving - 1)
        self._tally.give(CONNECTIONS)
