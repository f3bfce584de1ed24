"""The file that `serve --tls-key-log` names, opened once for all workers."""

import logging
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sozu_trio.errors import OperatorError

log = logging.getLogger(__name__)

_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY


@contextmanager
def open_key_log(path: Path | None, *, succeeds: bool = False) -> Iterator[int | None]:
    """A descriptor that appends to the file at `path` while the body runs, None where there is to be none.

    Raises OperatorError, also for a file that anybody but us can read. `succeeds`: another image of this process has
    served before, and nobody would serve without this one, so it does without the file and warns.
    """
    try:
        descriptor = None if path is None else _open(path)
    except OperatorError as error:
        if not succeeds:
            raise
        log.warning("%s", error)
        descriptor = None
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _open(path: Path) -> int:
    try:
        descriptor = os.open(path, _FLAGS, 0o600)
    except OSError as error:
        raise OperatorError(f"--tls-key-log: cannot write {path}: {error.strerror}") from error
    try:
        _refuse_shared(path, os.fstat(descriptor))
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_shared(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OperatorError(f"--tls-key-log: {path} is no regular file")
    if status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise OperatorError(
            f"--tls-key-log: {path} belongs to uid {status.st_uid} with mode {status.st_mode & 0o777:o}; want one "
            f"of uid {os.geteuid()} with mode 600, or none, as it is made then"
        )
