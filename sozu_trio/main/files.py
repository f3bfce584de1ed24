"""Files that main opens because a client of the control socket names them: what does not fit into a request."""

import codecs
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar, TypeVarTuple

import trio

from sozu_trio.config.regular import read_regular
from sozu_trio.config.values import show
from sozu_trio.errors import OperatorError

THREADS: Final = 4
"""That read files for clients at once. A disk that hangs then holds up no thread that others wait for."""
Given = TypeVarTuple("Given")
Read = TypeVar("Read")
_limiter: trio.lowlevel.RunVar[trio.CapacityLimiter] = trio.lowlevel.RunVar("files that clients name")


async def in_thread(read: Callable[[*Given], Read], *given: *Given) -> Read:
    """What `read` returns or raises, from a thread. It must only look: who is cancelled leaves it behind."""
    try:
        limiter = _limiter.get()
    except LookupError:
        limiter = trio.CapacityLimiter(THREADS)
        _limiter.set(limiter)
    return await trio.to_thread.run_sync(read, *given, abandon_on_cancel=True, limiter=limiter)


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
