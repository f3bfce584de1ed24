"""Files that somebody names over a socket: read whole, and nothing that would never open or never end."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LARGEST = 1 << 28
"""Bytes of a file that is read whole."""
_CHUNK = 1 << 20


def read_regular(path: Path) -> bytes:
    """All of a regular file. Blocks as long as the disk takes. Raises OSError for anything else, and for too much."""
    with _opened(path) as fd:
        data = bytearray()
        # Not by its size: files of /proc are regular and of size 0, whatever comes out of them.
        while chunk := os.read(fd, _CHUNK):
            data += chunk
            if len(data) > LARGEST:
                raise OSError(errno.EFBIG, f"it has more than {LARGEST:,} bytes")
        return bytes(data)


def read_beginning(path: Path, length: int) -> bytes:
    """The first `length` bytes of a regular file, or fewer where it ends. Raises OSError as `read_regular` does."""
    with _opened(path) as fd:
        return os.read(fd, length)


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    # Else the open of a pipe waits until somebody writes to it.
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        mode = os.fstat(fd).st_mode
        if stat.S_ISDIR(mode):
            raise OSError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        yield fd
    finally:
        os.close(fd)
