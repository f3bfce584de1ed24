"""Tables that the clusters of a worker have yet to follow.

A change may touch every cluster there is, so a swap itself does nothing but remember. A cluster follows when somebody
asks for it, and in slices all those that nobody has asked for. It goes through every Table in turn and leaves none out,
so what is removed and soon comes back has been gone, as everybody was told.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from itertools import islice

from sozu_trio.routing.slices import Pace, Sliced, batches
from sozu_trio.routing.table import ClusterEntry

Entries = Mapping[str, ClusterEntry]
Follow = Callable[[str, ClusterEntry | None], int]
"""`follow(cluster_id, entry)`: has the cluster become what `entry` says, gone for None. Returns how many microseconds
that takes, roughly.
"""

LOOK_UNITS = 100
"""What it takes to compare a batch of entries."""


class Swaps:
    """Which cluster has followed how far."""

    def __init__(self, follow: Follow) -> None:
        self.entries: Entries = {}
        """Those of the Table in force."""
        self.pending: deque[tuple[Entries, Entries]] = deque()
        """The entries before and after each swap that has yet to be followed, the oldest first."""
        self._follow = follow
        self._swaps = 0
        self._followed: dict[str, int] = {}
        """How many of all swaps a cluster has followed, where it is ahead of `pending`."""

    def swap(self, entries: Entries) -> None:
        """Clusters are to be those of `entries`, which nobody changes from now on."""
        self.pending.append((self.entries, entries))
        self.entries = entries
        self._swaps += 1

    def settle(self, cluster_id: str) -> int:
        """Have one cluster follow whatever it has not yet; returns how many microseconds that takes, roughly."""
        done = self._swaps - len(self.pending)
        units = 0
        for before, after in islice(self.pending, max(0, self._followed.get(cluster_id, 0) - done), None):
            # An entry that is the same object stands for a cluster that nothing has happened to.
            if (entry := after.get(cluster_id)) is not before.get(cluster_id):
                units += self._follow(cluster_id, entry)
        self._followed[cluster_id] = self._swaps
        return units

    def settle_all(self) -> Sliced[int]:
        """Have all clusters follow, in slices; returns how many had to. Swaps that come meanwhile are followed, too."""
        pace, count = Pace(), 0
        while self.pending:
            for cluster_id in self._touched(*self.pending[0], pace):
                count += cluster_id is not None
                if cluster_id is None or pace.spend(self.settle(cluster_id)):
                    yield
            self.pending.popleft()
        self._followed.clear()
        return count

    def _touched(self, before: Entries, after: Entries, pace: Pace) -> Iterator[str | None]:
        """The ids of the clusters that are gone, new or other; None where it is time to yield."""
        for batch in batches(before.items()):
            yield from [cluster_id for cluster_id, entry in batch if after.get(cluster_id) is not entry]
            if pace.spend(LOOK_UNITS):
                yield None
        for names in batches(after):
            yield from [cluster_id for cluster_id in names if cluster_id not in before]
            if pace.spend(LOOK_UNITS):
                yield None
