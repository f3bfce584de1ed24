"""Files that somebody names over a socket: read whole, and nothing that would never open or never end."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

LARGEST = 1 << 28
"""Bytes of a file that is read whole."""
_CHUNK = 1 << 20


def read_regular(path: Path) -> bytes:
    """All of a regular file. Blocks as long as the disk takes. Raises OSError for anything else, and for too much."""
    with _opened(path) as file:
        data = bytearray()
        # Not by its size: files of /proc are regular and of size 0, whatever comes out of them.
        while chunk := os.read(file.fileno(), _CHUNK):
            data += chunk
            if len(data) > LARGEST:
                raise OSError(errno.EFBIG, f"it has more than {LARGEST:,} bytes")
        return bytes(data)


def read_beginning(path: Path, length: int) -> bytes:
    """The first `length` bytes of a regular file, or fewer where it ends. Raises OSError as `read_regular` does."""
    with _opened(path) as file:
        return os.read(file.fileno(), length)


def _opened(path: Path) -> BinaryIO:
    file = open(path, "rb", buffering=0, opener=_without_waiting)
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "it is no regular file")
    return file


def _without_waiting(path: str, flags: int) -> int:
    """Else the open of a pipe waits until somebody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY)
