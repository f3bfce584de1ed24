"""Main's side of what workers count together (`nursery/tally.py`): the memory, and whose each region of it is."""

import mmap
import os
import secrets
from collections.abc import Collection

from sozu_trio.errors import ChannelError
from sozu_trio.nursery.tally import OWNERS, PAGE, REGION, REGIONS, SECRET, SIZE, VERSION


class Regions:
    """Gives each process a region, and takes it back, empty, when that has ended."""

    def __init__(self) -> None:
        self._memory = os.memfd_create("tally", os.MFD_CLOEXEC)
        os.truncate(self._memory, SIZE)
        self._map()
        self._whole[:SECRET] = secrets.token_bytes(SECRET)

    def _map(self) -> None:
        self._whole = mmap.mmap(self._memory, SIZE)
        self._directory = memoryview(self._whole)[:PAGE].cast("Q")

    def fileno(self) -> int:
        """Of the memory, which workers get."""
        return self._memory

    def give(self, pid: int) -> int:
        """A region for the process `pid`. Raises ChannelError when there is none left, which takes hundreds of them."""
        self._forget_the_dead()
        owners = self._owners()
        if 0 not in owners:
            raise ChannelError(f"{REGIONS} processes count already")
        region = owners.index(0)
        self._set(region, pid)
        return region

    def _owners(self) -> list[int]:
        return self._directory[OWNERS : OWNERS + REGIONS].tolist()

    def _forget_the_dead(self) -> None:
        """Those that main has parted with, and whose end it has not seen."""
        for region, pid in enumerate(self._owners()):
            if pid and not os.path.exists(f"/proc/{pid}"):
                self.take_back(region, pid)

    def take_back(self, region: int, pid: int) -> None:
        """The process `pid` has ended: what it has counted is not there any more."""
        if self._directory[OWNERS + region] == pid:
            self._empty(region)
            self._set(region, 0)

    def go_on_with(self, memory: int, pids: Collection[int]) -> None:
        """Use the memory of workers of a main before, whose processes are `pids`; what others have counted is dropped.

        Raises ChannelError for what is no such memory.
        """
        if os.fstat(memory).st_size != SIZE:
            raise ChannelError("the memory in which workers count together has another size")
        before, self._memory = self._memory, os.dup(memory)
        os.close(before)
        self._map()
        for region, owner in enumerate(self._owners()):
            if owner and owner not in pids:
                self.take_back(region, owner)

    def _set(self, region: int, pid: int) -> None:
        self._directory[OWNERS + region] = pid
        self._directory[VERSION] += 1

    def _empty(self, region: int) -> None:
        """The kernel takes back the pages, and gives zeros from now on."""
        self._whole.madvise(mmap.MADV_REMOVE, PAGE + region * REGION, REGION)

    def close(self) -> None:
        """Workers go on with theirs."""
        os.close(self._memory)
