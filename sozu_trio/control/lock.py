"""A file that is locked as long as something is ours: the control socket, the journal.

The kernel gives the lock back however a process ends. The file stays: who unlinks it may unlink the next one's.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from sozu_trio.control.heirlooms import Heirlooms
from sozu_trio.errors import OperatorError

LOCK = ".lock"
"""What is added to the path of what is locked."""
MODE = 0o600


@contextlib.contextmanager
def locked(
    path: Path, *, holds: str, unusable: Callable[[OSError], str], heirlooms: Heirlooms | None = None
) -> Iterator[None]:
    """Hold `<path>.lock`, with our pid in it, while the body runs. The lock is one of `heirlooms`, if there are any.

    Raises OperatorError where another process does, which `holds` is said of, and where there can be no such file, in
    the words of `unusable`.
    """
    heirlooms = Heirlooms() if heirlooms is None else heirlooms
    file = Path(f"{path}{LOCK}")
    left = heirlooms.copy_of(str(file))
    descriptor = _lock(file, holds, unusable) if left is None else left
    try:
        with heirlooms.keep(str(file), descriptor):
            yield
    finally:
        if heirlooms.settled:
            os.ftruncate(descriptor, 0)
        os.close(descriptor)


def _lock(file: Path, holds: str, unusable: Callable[[OSError], str]) -> int:
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, MODE)
    except OSError as error:
        raise OperatorError(unusable(error)) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise OperatorError(_held(descriptor, file, holds, error)) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _held(descriptor: int, file: Path, holds: str, error: OSError) -> str:
    if error.errno != errno.EWOULDBLOCK:
        return f"cannot lock {file}: {error.strerror}"
    pid = os.pread(descriptor, 20, 0).strip().decode("ascii", "replace")
    return f"another sozu_trio (pid {pid if pid.isdigit() else 'unknown'}) {holds}"
