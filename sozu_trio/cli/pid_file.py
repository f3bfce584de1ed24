"""The file that holds main's pid, for service managers and for whoever rotates the logs.

It is written when the proxy listens, so that a second one that cannot start does not overwrite the first one's.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sozu_trio.errors import OperatorError

log = logging.getLogger(__name__)


@contextmanager
def pid_file(path: Path | None, *, succeeds: bool = False) -> Iterator[None]:
    """Hold our pid in `path` while the body runs; None: do nothing. What holds it already is left as it is.

    Raises OperatorError when it cannot be written. `succeeds`: another image of this process has served before, and
    there is no way back to it, so that is only a warning.
    """
    if path is None:
        yield
        return
    ours = b"%d\n" % os.getpid()
    try:
        _hold(path, ours)
    except OSError as error:
        what = f"pid_file_path: cannot write {path}: {error.strerror}"
        if not succeeds:
            raise OperatorError(what) from error
        log.warning("%s", what)
    try:
        yield
    finally:
        # Somebody may have removed it, or written another one's pid.
        with suppress(OSError):
            if path.read_bytes() == ours:
                path.unlink()


def _hold(path: Path, ours: bytes) -> None:
    with suppress(OSError):
        if path.read_bytes() == ours:
            return
    path.write_bytes(ours)
