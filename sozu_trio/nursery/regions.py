"""Main's side of what workers count together (`nursery/tally.py`): the memory, and whose each region of it is.

Whatever is in that memory main only writes. Nobody can cut it short, which would kill whoever reads it (SIGBUS), and
workers cannot write in the directory: the kernel sees to that, by seals. An image of main, or another main, cannot
either then. So each makes memory of its own, and has the workers it adopts go on in that; only the secret remains.
"""

import fcntl
import mmap
import os
import secrets
from typing import Final

from sozu_trio.errors import ChannelError
from sozu_trio.nursery.tally import OWNERS, PAGE, REGION, REGIONS, SECRET, SIZE, VERSION

FUTURE_WRITE: Final = 0x10
"""F_SEAL_FUTURE_WRITE of Linux 5.1, which Python does not name: only who has mapped it before can write."""
SEALS: Final = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL


class Memory:
    """Memory of a certain size, for good, which others can map by its descriptor."""

    def __init__(self, name: str, size: int, seals: int) -> None:
        self._descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.truncate(self._descriptor, size)
        self.whole = mmap.mmap(self._descriptor, size)
        fcntl.fcntl(self._descriptor, fcntl.F_ADD_SEALS, seals)

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        os.close(self._descriptor)


class Regions:
    """Gives each process a region, empty, and takes it back when that has ended."""

    def __init__(self) -> None:
        directory, counts = Memory("directory", PAGE, SEALS | FUTURE_WRITE), Memory("tally", SIZE, SEALS)
        self.memories = directory, counts
        """What workers get, in that order."""
        self._directory = memoryview(directory.whole).cast("Q")
        self._counts = counts.whole
        self._owners = [0] * REGIONS
        self._version = 0
        self.keep_secret(secrets.token_bytes(SECRET))

    @property
    def descriptors(self) -> list[int]:
        """Of `memories`."""
        return [memory.fileno() for memory in self.memories]

    def keep_secret(self, secret: bytes) -> None:
        """Have keys made with that of a main before, before anybody is given a region."""
        self._directory.cast("B")[:SECRET] = secret

    def give(self, pid: int) -> int:
        """A region for the process `pid`. Raises ChannelError when there is none left, which takes hundreds of them."""
        self._forget_the_dead()
        if 0 not in self._owners:
            raise ChannelError(f"{REGIONS} processes count already")
        region = self._owners.index(0)
        self._empty(region)
        self._set(region, pid)
        return region

    def _forget_the_dead(self) -> None:
        """Those that main has parted with, and whose end it has not seen."""
        for region, pid in enumerate(self._owners):
            if pid and not os.path.exists(f"/proc/{pid}"):
                self.take_back(region, pid)

    def take_back(self, region: int, pid: int) -> None:
        """The process `pid` has ended: what it has counted is not there any more."""
        if self._owners[region] == pid:
            self._set(region, 0)
            self._empty(region)

    def _set(self, region: int, pid: int) -> None:
        self._owners[region] = pid
        self._version = (self._version + 1) % (1 << 64)
        self._directory[OWNERS + region] = pid
        self._directory[VERSION] = self._version

    def _empty(self, region: int) -> None:
        """The kernel takes back the pages, and gives zeros from now on."""
        self._counts.madvise(mmap.MADV_REMOVE, region * REGION, REGION)

    def close(self) -> None:
        """Workers go on with theirs."""
        for memory in self.memories:
            memory.close()
