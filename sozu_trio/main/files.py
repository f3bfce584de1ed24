"""Files that main opens because a client of the control socket names them: what does not fit into a request."""

import codecs
import os
import stat
from pathlib import Path

from sozu_trio.config.values import show
from sozu_trio.errors import OperatorError


def absolute(given: str) -> Path:
    """The path that the member `file` names. Raises OperatorError for one that depends on who reads it."""
    if not given.startswith("/") or "\0" in given:
        raise OperatorError(f"file: found {show(given)}; want an absolute path")
    return Path(given)


def read_whole(path: Path) -> bytes:
    """The whole of a regular file without its byte order mark; whatever else can be opened might never end. Blocks for
    as long as the disk takes. Raises OperatorError.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise OperatorError(f"file: {path} is no regular file")
            return file.read().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise OperatorError(f"file: cannot read {path}: {error.strerror or error}") from error


def _without_waiting(path: str, flags: int) -> int:
    """Else the open of a pipe waits until somebody writes to it."""
    return os.open(path, flags | os.O_NONBLOCK)
