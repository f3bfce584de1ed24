"""The outer edge of every session, and the only one: no exception passes it, so that no client can stop the server.

`log` is handed in by whoever starts the session, so that the line carries the session's own log context. It is no
coroutine around another: each time a session waits, and goes on, it would be passed through (`session.py`).
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sozu_trio.errors import HandshakeFailed, ProxyHeaderError


@contextmanager
def guard(name: str, log: logging.Logger) -> Iterator[None]:
    """Around the session `name`: a lost connection is a debug line, a client's mistake an info line, the rest a
    traceback at error. Cancellation passes.
    """
    try:
        yield
    except* OSError as lost:
        log.debug("session %s: connection lost: %s", name, "; ".join(str(error) for error in lost.exceptions))
    except* (HandshakeFailed, ProxyHeaderError) as refused:
        log.info("session %s: closed: %s", name, "; ".join(str(error) for error in refused.exceptions))
    except* Exception as failures:
        log.error("session %s failed", name, exc_info=failures)
