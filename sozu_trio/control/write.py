"""Files that appear whole or not at all: written under another name beside their place, synced, and renamed.

All of it blocks, so it belongs into a thread once the loop serves anybody.
"""

import os
import tempfile
from pathlib import Path
from typing import Final

SUFFIX: Final = ".new"


def write_atomically(path: Path, data: bytes) -> None:
    """Replace `path` by a file of mode 0600 that holds `data`, durably. Raises OSError; `path` is then as it was,
    unless only the last step failed, the sync of its directory.
    """
    new = NewFile(path)
    try:
        write_at(new.fd, data, 0)
        new.take_its_place()
    finally:
        new.close()


def write_at(fd: int, data: bytes | bytearray, position: int) -> None:
    """All of `data`. Raises OSError, and then some of it may be written."""
    rest = memoryview(data)
    while rest:
        written = os.pwrite(fd, rest, position)
        rest = rest[written:]
        position += written


def sync_directory(path: Path) -> None:
    """Make it durable which file stands at `path`. Raises OSError."""
    fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def remove_unfinished(path: Path) -> None:
    """Remove what a process that died in the middle left beside `path`; nobody else may be writing there."""
    for each in path.parent.iterdir():
        if each.name.startswith(f".{path.name}.") and each.name.endswith(SUFFIX):
            each.unlink(missing_ok=True)


class NewFile:
    """A file in the making, mode 0600, for the place of `path`. Close it in any case; unless it has taken that place,
    it is gone then.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._path = path
        self.fd, self._name = tempfile.mkstemp(SUFFIX, f".{path.name}.", path.parent)
        self._kept = False
        os.fchmod(self.fd, 0o600)

    def take_its_place(self) -> None:
        """Sync, rename, sync the directory. Raises OSError; `in_place` then says how far it came."""
        os.fsync(self.fd)
        os.rename(self._name, self._path)
        self._name = ""
        sync_directory(self._path)

    @property
    def in_place(self) -> bool:
        """Whether `path` names this file now."""
        return not self._name

    def keep(self) -> int:
        """The descriptor of the file in its place: from here on the caller closes it."""
        self._kept = True
        return self.fd

    def close(self) -> None:
        """Unless the file is in place, nothing is left of it."""
        try:
            if not self.in_place:
                os.unlink(self._name)
        finally:
            if not self._kept:
                os.close(self.fd)
