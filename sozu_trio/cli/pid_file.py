"""The file that holds main's pid, for service managers and for whoever rotates the logs.

It is written when the proxy listens, so that a second one that cannot start does not overwrite the first one's.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sozu_trio.errors import OperatorError


@contextmanager
def pid_file(path: Path | None) -> Iterator[None]:
    """Hold our pid in `path` while the body runs; None: do nothing. Raises OperatorError when it cannot be written."""
    if path is None:
        yield
        return
    ours = f"{os.getpid()}\n"
    try:
        path.write_text(ours)
    except OSError as error:
        raise OperatorError(f"pid_file_path: cannot write {path}: {error.strerror}") from error
    try:
        yield
    finally:
        # Somebody may have removed it, or written another one's pid.
        with suppress(OSError):
            if path.read_text() == ours:
                path.unlink()
