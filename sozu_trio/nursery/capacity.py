"""How many client connections there may be, in this worker and in all together.

Plain integers: everything happens in one task at a time, and a limiter that waits would queue where we must refuse.
"""

from sozu_trio.config.descriptors import fitting, most_descriptors
from sozu_trio.config.program import Settings
from sozu_trio.nursery.tally import CONNECTIONS, Tally


class Capacity:
    """`take` succeeds while this worker has fewer than `max_connections`, which is exact, and all workers together
    fewer than `max_connections_total`, which as many as there are other workers may exceed.
    """

    __slots__ = ("_tally", "limit", "taken", "total")

    def __init__(self, tally: Tally, settings: Settings) -> None:
        self._tally = tally
        self.taken = 0
        self.follow(settings)

    def follow(self, settings: Settings) -> None:
        """Go by `settings` from now on; who is there already stays."""
        self.limit = fitting(most_descriptors()) if settings.max_connections is None else settings.max_connections
        self.total = settings.max_connections_total
        """0 = any number."""

    def take(self) -> bool:
        if self.taken >= self.limit or (self.total and self._tally.total(CONNECTIONS) >= self.total):
            return False
        self.take_beyond()
        return True

    def take_beyond(self) -> None:
        """Take a place even where there is none."""
        self.taken += 1
        self._tally.add(CONNECTIONS)

    def give(self) -> None:
        assert self.taken > 0
        self.taken -= 1
        self._tally.give(CONNECTIONS)
