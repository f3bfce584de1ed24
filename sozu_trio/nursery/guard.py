"""The outer edge of every session, and the only one: no exception passes it, so that no client can stop the server.

`log` is handed in by whoever starts the session, so that the line carries the session's own log context. It is no
coroutine around another: each time a session waits, and goes on, it would be passed through (`session.py`).
"""

import logging
from types import TracebackType

from sozu_trio.errors import HandshakeFailed, ProxyHeaderError


class Guard:
    """Around the session `name`: a lost connection is a debug line, a client's mistake an info line, the rest a
    traceback at error. Cancellation passes.
    """

    __slots__ = ("_log", "_name")

    def __init__(self, name: str, log: logging.Logger) -> None:
        self._name = name
        self._log = log

    def __enter__(self) -> None:
        """Nothing is to be done."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if isinstance(error, BaseExceptionGroup):
            failures, rest = error.split(Exception)
        elif isinstance(error, Exception):
            failures, rest = ExceptionGroup("", [error]), None
        else:
            return False
        if failures is None:
            return False
        self._tell(failures)
        if rest is None:
            return True
        try:
            raise rest
        finally:
            del error, traceback, failures, rest  # Else they would refer to this frame, and it to them.

    def _tell(self, failures: ExceptionGroup[Exception]) -> None:
        # By `except*` they would be raised once more: a cycle of each with a frame, left to the garbage collector.
        lost, others = failures.split(OSError)
        refused, errors = (None, None) if others is None else others.split((HandshakeFailed, ProxyHeaderError))
        if lost is not None:
            self._log.debug("session %s: connection lost: %s", self._name, _in_words(lost))
        if refused is not None:
            self._log.info("session %s: closed: %s", self._name, _in_words(refused))
        if errors is not None:
            self._log.error("session %s failed", self._name, exc_info=errors)


def _in_words(failures: ExceptionGroup[Exception]) -> str:
    return "; ".join(str(error) for error in failures.exceptions)
