"""How many requests a second one client address may make, and how many one cluster takes: token buckets, over all
workers.

A bucket fills by `rate` tokens a second up to `burst`, and a request takes one out. Each worker has its own bucket for
what it is asked, counts its requests in the Tally since the bucket was full last, and takes out what the others have
counted since it looked last. A bucket that is full says nothing: it is forgotten, and so is what was counted. Whoever
begins a new one beside others takes out all they have counted, though some of it may have been refilled since. Where
counts are forgotten just when others come, these are missed: after a pause a burst may come through each worker.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from sozu_trio.config.clusters import Cluster
from sozu_trio.config.program import Settings
from sozu_trio.nursery.places import source_of
from sozu_trio.nursery.tally import Tally

MOST: Final = 32768
"""Buckets of a worker, 10 MiB: half of what the Tally has room for. Who finds none is not counted, and let in."""
SLICE: Final = 200
"""Buckets looked at in one go: about a millisecond."""


@dataclass(slots=True)
class Bucket:
    """What may be asked for now, as of `looked`."""

    key: int
    rate: float
    """Tokens a second."""
    burst: float
    """Tokens at most."""
    level: float
    """Tokens; below 0 where several workers took the last ones."""
    looked: float
    """Trio's clock."""
    seen: int
    """Of what all have counted, what has been taken out of `level`."""
    counted: bool = False
    """This worker has counted something."""

    def look(self, tally: Tally, now: float) -> None:
        """Put in what time has brought, and take out what others have used."""
        total = tally.total(self.key)
        level = min(self.burst, self.level + max(0.0, now - self.looked) * self.rate)
        self.level = max(level - max(0, total - self.seen), -self.burst)
        self.seen, self.looked = total, now
        if self.counted and self.is_full:
            tally.forget(self.key)
            self.counted = False
            self.seen = tally.total(self.key)

    @property
    def is_full(self) -> bool:
        return self.level >= self.burst

    def take(self, tally: Tally) -> float:
        """Take out a token; the seconds until there is one where there is none, else 0."""
        if self.level < 1:
            return (1 - self.level) / self.rate
        self.level -= 1
        if tally.add(self.key):
            self.counted = True
            self.seen += 1
        return 0


class Rates:
    """The buckets of a worker."""

    __slots__ = ("_buckets", "_tally", "burst_per_ip", "per_ip", "uncounted")

    def __init__(self, tally: Tally, settings: Settings) -> None:
        self._tally = tally
        self._buckets: dict[bytes | str, Bucket] = {}
        self.uncounted = 0
        """Requests for which there was no bucket."""
        self.follow(settings)

    def follow(self, settings: Settings) -> None:
        """Go by `settings` from now on."""
        self.per_ip = settings.max_requests_per_ip
        """Requests a second; 0 = any number."""
        self.burst_per_ip = settings.max_requests_per_ip_burst

    def __len__(self) -> int:
        """Buckets that are not full."""
        return len(self._buckets)

    def wait_of(self, host: str, now: float) -> int:
        """Seconds after which a client at `host` may ask again; 0 = it may ask now, and this was its request."""
        return self._take(source_of(host), self.per_ip, self.burst_per_ip, now)

    def wait_for(self, cluster: Cluster, now: float) -> int:
        """Seconds after which `cluster` takes a request again; 0 = it takes this one."""
        return self._take(cluster.cluster_id, cluster.max_requests, cluster.max_requests_burst, now)

    def _take(self, name: bytes | str, rate: int, burst: int, now: float) -> int:
        bucket = self._buckets.get(name)
        if bucket is None:
            if len(self._buckets) >= MOST:
                self.uncounted += 1
                return 0
            bucket = self._buckets[name] = self._new(name, rate, burst or rate, now)
        bucket.rate, bucket.burst = rate, burst or rate
        bucket.look(self._tally, now)
        return math.ceil(bucket.take(self._tally))

    def _new(self, name: bytes | str, rate: int, burst: int, now: float) -> Bucket:
        kind, what = (b"requests of", name) if isinstance(name, bytes) else (b"requests for", name.encode())
        key = self._tally.key(kind, what)
        total = self._tally.total(key)
        return Bucket(key, rate, burst, max(0, burst - total), now, total)

    def sweep(self, now: float) -> Iterator[None]:
        """Forget buckets that are full, in slices."""
        for number, (name, bucket) in enumerate(list(self._buckets.items())):
            bucket.look(self._tally, now)
            if bucket.is_full:
                del self._buckets[name]
            if number % SLICE == SLICE - 1:
                yield
