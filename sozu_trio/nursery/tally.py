"""What all workers of a proxy count together, in memory that they share.

A limit that holds for the whole proxy needs to know at every connection what the others have. To ask main would cost a
round trip each time, and nobody answers while main is dead. So there is memory that main makes and every worker gets,
with a region for each process, which publishes there what it counts and reads what the others do. Nobody waits for
anybody, and nobody's death leaves anything locked. Two that look in the same microsecond may both let one in: a bound
is exceeded by at most one for each other worker.

    directory   secret of the keys │ how often regions were given or taken back │ by region: the pid it belongs to, or 0
    region n    SLOTS keys, then SLOTS counts

A key is a hash of what is counted and lives in one of two buckets of BUCKET slots, which readers look through whole:
nothing is ever moved, so they need no lock. Numbers are 8 bytes and aligned, which the machines we run on write in one.

The directory only main can write. In the regions a worker that an attacker has taken over can write what it likes, in
all of them. So nobody reads what it has published itself, and what others have is held to be from 0 to MOST: all that
comes of it is that connections are refused which there is room for, or let in which there is none for.
"""

import mmap
from collections.abc import Sequence
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
"""Where they stand in the directory, in numbers of 8 bytes; the secret comes before them."""
REGIONS: Final = PAGE // 8 - OWNERS
SIZE: Final = REGIONS * REGION
CONNECTIONS: Final = 1
"""The key of all client connections."""
MOST: Final = 1 << 31
"""What anybody is taken to count at most; no process has as many connections."""


class Tally:
    """A worker's view: what it counts is seen by all, and what all count is seen by it."""

    def __init__(self, memories: Sequence[int], region: int) -> None:
        """`memories`: descriptors of the directory and of the regions, as those of `Regions`, not needed any more then.
        `region` is that of this process. Raises ValueError for what is no such memory.
        """
        self._counts: dict[int, int] = {}
        """By key."""
        self._slots: dict[int, int] = {}
        """Where in our region a key is."""
        self._used = bytearray(SLOTS)
        """1 for each slot of our region that has a key."""
        self.overflows = 0
        """How often there was no room for a key."""
        self.move(memories, region)

    def move(self, memories: Sequence[int], region: int) -> None:
        """Go on in other memory, whose region is empty, with what is counted. Raises ValueError as when made."""
        if len(memories) != 2 or not 0 <= region < REGIONS:
            raise ValueError(f"{len(memories)} descriptors and region {region}: that is no place to count in")
        try:
            directory = mmap.mmap(memories[0], PAGE, prot=mmap.PROT_READ)
            regions = mmap.mmap(memories[1], SIZE)
        except OSError as error:
            raise ValueError(f"the memory to count in cannot be had: {error.strerror}") from error
        self._directory, self._memory = memoryview(directory).cast("Q"), memoryview(regions)
        self.secret = self._directory[:VERSION].tobytes()
        """What keys are made with."""
        self._region = region
        self._own = _Region(self._memory, region)
        self._others: dict[int, _Region] = {}
        self._version = -1
        for key, slot in self._slots.items():
            self._publish(slot, key, self._counts[key])

    def key(self, *what: bytes) -> int:
        """Of something to be counted, the same in every worker. Two things may have the same with a chance of 2⁻⁶⁴."""
        digest = blake2b(digest_size=8, key=self.secret)
        for part in what:
            digest.update(len(part).to_bytes(4) + part)
        # 0 is an empty slot, and 1 is taken.
        return int.from_bytes(digest.digest()) | 2

    def total(self, key: int) -> int:
        """What all workers together have counted of `key`."""
        if self._version != self._directory[VERSION]:
            self._look_around()
        total = self._counts.get(key, 0)
        for other in self._others.values():
            total += other.count(key)
        return total

    def take(self, key: int, limit: int) -> bool:
        """Count one more if there are fewer than `limit`; also False where there is no room to count."""
        return self.total(key) < limit and self.add(key)

    def add(self, key: int, number: int = 1) -> bool:
        """Count `number` more, whatever the limit; False where there is no room to count."""
        slot = self._slots.get(key)
        if slot is None:
            slot = self._free_slot(key)
            if slot is None:
                self.overflows += 1
                return False
            self._slots[key] = slot
            self._used[slot] = 1
        count = self._counts[key] = self._counts.get(key, 0) + number
        self._publish(slot, key, count)
        return True

    def give(self, key: int) -> None:
        """Count one less of what was counted, if it was: there may have been no room."""
        count = self._counts.get(key, 0)
        if count > 1:
            self._counts[key] = count - 1
            self._publish(self._slots[key], key, count - 1)
        else:
            self.forget(key)

    def forget(self, key: int) -> None:
        """Count nothing of `key` any more."""
        slot = self._slots.pop(key, None)
        if slot is not None:
            del self._counts[key]
            self._used[slot] = 0
            self._publish(slot, 0, 0)

    def _publish(self, slot: int, key: int, count: int) -> None:
        # The count first: whoever reads meanwhile finds no key with what another one has counted.
        self._own.counts[slot] = min(count, MOST)
        self._own.keys[slot] = key

    def _free_slot(self, key: int) -> int | None:
        """Where a key may go that is not there; the emptier one of its buckets is best."""
        first = max(buckets_of(key), key=lambda first: self._used.count(0, first, first + BUCKET))
        slot = self._used.find(0, first, first + BUCKET)
        return None if slot < 0 else slot

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
        view = memory[number * REGION :][:REGION]
        self.keys = view[: REGION // 2].cast("Q")
        self.counts = view[REGION // 2 :].cast("q")

    def count(self, key: int) -> int:
        """Of a key that may be there."""
        for first in buckets_of(key):
            keys = self.keys[first : first + BUCKET].tolist()
            if key in keys:
                return min(max(self.counts[first + keys.index(key)], 0), MOST)
        return 0


def buckets_of(key: int) -> tuple[int, int]:
    """The first slots of the two buckets in which `key` may be."""
    return (key >> 8) % SLOTS & -BUCKET, (key >> 32) % SLOTS & -BUCKET
