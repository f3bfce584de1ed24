"""What all workers of a proxy count together, in memory that they share.

A limit that holds for the whole proxy needs to know at every connection what the others have. To ask main would cost a
round trip each time, and nobody answers while main is dead. So there is one piece of memory, a memfd that main makes
and every worker gets, with a region for each process: it writes its own and reads all. Nobody waits for anybody, and
nobody's death leaves anything locked. Two that look in the same microsecond may both let one in: a bound is exceeded by
at most one for each other worker.

    page 0     secret of the keys │ how often regions were given or taken back │ by region: the pid it belongs to, or 0
    region n   SLOTS keys, then SLOTS counts

A key is a hash of what is counted and lives in one of two buckets of BUCKET slots, which readers look through whole:
nothing is ever moved, so they need no lock. Numbers are 8 bytes and aligned, which the machines we run on write in one.
A worker that an attacker has taken over can write here what it likes, and so have the others refuse too much or too
little; there is nothing else in here.
"""

import mmap
from hashlib import blake2b
from typing import Final

PAGE: Final = mmap.PAGESIZE
SLOTS: Final = 1 << 16
"""Keys that a region has room for, nearly: six times the default of `max_connections`."""
BUCKET: Final = 8
REGION: Final = 2 * 8 * SLOTS
"""Bytes; the kernel gives none before they are written or read."""
SECRET: Final = 16
"""Bytes, so that nobody can choose addresses that meet in one bucket."""
VERSION, OWNERS = 2, 3
"""Where they stand on the first page, in numbers of 8 bytes; the secret comes before them."""
REGIONS: Final = PAGE // 8 - OWNERS
SIZE: Final = PAGE + REGIONS * REGION
CONNECTIONS: Final = 1
"""The key of all client connections."""


class Tally:
    """A worker's view: what it counts is seen by all, and what all count is seen by it."""

    def __init__(self, memory: int, region: int) -> None:
        """`memory`: a descriptor as `Regions` gives, not needed any more then. `region` is that of this process."""
        self._memory = memoryview(mmap.mmap(memory, SIZE))
        self._directory = self._memory[:PAGE].cast("Q")
        self._secret = self._directory[:VERSION].tobytes()
        self._region = region
        self._own = _Region(self._memory, region)
        self._slots: dict[int, int] = {}
        """Where in our region a key is."""
        self._others: dict[int, _Region] = {}
        self._version = -1
        self.overflows = 0
        """How often there was no room for a key."""

    def key(self, *what: bytes) -> int:
        """Of something to be counted, the same in every worker. Two things may have the same with a chance of 2⁻⁶⁴."""
        digest = blake2b(digest_size=8, key=self._secret)
        for part in what:
            digest.update(len(part).to_bytes(4) + part)
        # 0 is an empty slot, and 1 is taken.
        return int.from_bytes(digest.digest()) | 2

    def total(self, key: int) -> int:
        """What all workers together have counted of `key`."""
        if self._version != self._directory[VERSION]:
            self._look_around()
        slot = self._slots.get(key)
        total = 0 if slot is None else self._own.counts[slot]
        for other in self._others.values():
            total += other.count(key)
        return total

    def take(self, key: int, limit: int) -> bool:
        """Count one more if there are fewer than `limit`; also False where there is no room to count."""
        return self.total(key) < limit and self.add(key)

    def add(self, key: int, number: int = 1) -> bool:
        """Count `number` more, whatever the limit; False where there is no room to count."""
        slot = self._slots.get(key)
        if slot is not None:
            self._own.counts[slot] += number
            return True
        slot = self._own.free_slot(key)
        if slot is None:
            self.overflows += 1
            return False
        self._slots[key] = slot
        self._own.counts[slot] = number
        self._own.keys[slot] = key
        return True

    def give(self, key: int) -> None:
        """Count one less of what was counted."""
        slot = self._slots[key]
        if self._own.counts[slot] > 1:
            self._own.counts[slot] -= 1
        else:
            self.forget(key)

    def forget(self, key: int) -> None:
        """Count nothing of `key` any more."""
        slot = self._slots.pop(key, None)
        if slot is not None:
            self._own.keys[slot] = 0
            self._own.counts[slot] = 0

    @property
    def processes(self) -> int:
        """How many workers count here, this one included."""
        if self._version != self._directory[VERSION]:
            self._look_around()
        return len(self._others) + 1

    def __len__(self) -> int:
        """Keys that this worker counts."""
        return len(self._slots)

    def _look_around(self) -> None:
        """Regions have been given or taken back."""
        self._version = self._directory[VERSION]
        owners = self._directory[OWNERS : OWNERS + REGIONS].tolist()
        alive = {number for number, owner in enumerate(owners) if owner and number != self._region}
        self._others = {number: self._others.get(number) or _Region(self._memory, number) for number in sorted(alive)}


class _Region:
    """The keys of one process and what it has counted of each."""

    __slots__ = ("counts", "keys")

    def __init__(self, memory: memoryview, number: int) -> None:
        view = memory[PAGE + number * REGION :][:REGION]
        self.keys = view[: REGION // 2].cast("Q")
        self.counts = view[REGION // 2 :].cast("q")

    def count(self, key: int) -> int:
        """Of a key that may be there."""
        for first in buckets_of(key):
            keys = self.keys[first : first + BUCKET].tolist()
            if key in keys:
                return self.counts[first + keys.index(key)]
        return 0

    def free_slot(self, key: int) -> int | None:
        """Where a key may go that is not there; the emptier one of its buckets is best."""
        candidates = [(self.keys[first : first + BUCKET].tolist(), first) for first in buckets_of(key)]
        keys, first = max(candidates, key=lambda each: each[0].count(0))
        return first + keys.index(0) if 0 in keys else None


def buckets_of(key: int) -> tuple[int, int]:
    """The first slots of the two buckets in which `key` may be."""
    return (key >> 8) % SLOTS & -BUCKET, (key >> 32) % SLOTS & -BUCKET
