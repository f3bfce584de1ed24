"""Files that main opens because a client of the control socket names them: what does not fit into a request."""

import codecs
from pathlib import Path

from sozu_trio.config.regular import read_regular
from sozu_trio.config.values import show
from sozu_trio.errors import OperatorError


def absolute(given: str) -> Path:
    """The path that the member `file` names. Raises OperatorError for one that depends on who reads it."""
    if not given.startswith("/") or "\0" in given:
        raise OperatorError(f"file: found {show(given)}; want an absolute path")
    return Path(given)


def read_whole(path: Path) -> bytes:
    """A regular file without its byte order mark. Blocks as long as the disk takes. Raises OperatorError."""
    try:
        return read_regular(path).removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise OperatorError(f"file: cannot read {path}: {error.strerror or error}") from error
