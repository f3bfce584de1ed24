"""The outer edge of every session, and the only one: no exception passes it, so that no client can stop the server.

`log` is handed in by whoever starts the session, so that the line carries the session's own log context.
"""

import logging
from collections.abc import Awaitable, Callable

from sozu_trio.errors import HandshakeFailed, ProxyHeaderError


async def guard(name: str, log: logging.Logger, serve: Callable[[], Awaitable[None]]) -> None:
    """Run `serve()`. A lost connection is a debug line, a client's mistake an info line, the rest a traceback at error.

    Cancellation passes.
    """
    try:
        await serve()
    except* OSError as lost:
        log.debug("session %s: connection lost: %s", name, "; ".join(str(error) for error in lost.exceptions))
    except* (HandshakeFailed, ProxyHeaderError) as refused:
        log.info("session %s: closed: %s", name, "; ".join(str(error) for error in refused.exceptions))
    except* Exception as failures:
        log.error("session %s failed", name, exc_info=failures)
