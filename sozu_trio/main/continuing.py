"""The first thing a new image of main does: it goes on with the upgrade that it came from, and tells who asked for that
how it went.
"""

import logging
import time
from functools import partial
from typing import Any

from sozu_trio import __version__
from sozu_trio.control.answering import Answer, Progress
from sozu_trio.control.permissions import Peer
from sozu_trio.control.protocol import Request
from sozu_trio.control.server import ControlServer
from sozu_trio.errors import OperatorError
from sozu_trio.main.auditing import Attempt, audited
from sozu_trio.main.handoff import Succession
from sozu_trio.main.parts import Parts
from sozu_trio.main.replacing import replace_workers

log = logging.getLogger(__name__)


async def go_on(parts: Parts, succession: Succession, control: ControlServer) -> None:
    """Go on with the client who waits, or alone where a signal has asked; the log has it in any case."""
    away = time.monotonic() - succession.handoff.away_since
    finish = partial(_finish, parts, succession, away)
    client = succession.handoff.client
    if client is not None:

        async def answer(_peer: Peer, _request: Request, progress: Progress) -> Answer:
            return await finish(progress)

        control.go_on(client, answer)
        return
    try:
        await finish(_log_progress)
    except OperatorError as error:
        log.error("upgrade: %s", error)
    except Exception:
        log.exception("upgrade: internal error")


async def _finish(parts: Parts, succession: Succession, away: float, progress: Progress) -> Answer:
    attempt = Attempt(verb="upgrade", what="upgrade", actor=succession.handoff.actor)
    return await audited(parts, attempt, partial(_go_on, parts, succession, away, progress))


async def _go_on(parts: Parts, succession: Succession, away: float, progress: Progress) -> Answer:
    """Raises OperatorError where the code that was to take over has failed."""
    left = succession.handoff
    milliseconds = round(away * 1000)
    if succession.failure is not None:
        log.error("version %s did not take over: %s; main runs %s again", left.wanted, succession.failure, __version__)
        raise OperatorError(
            f"version {left.wanted} did not take over: {succession.failure}; main runs version {__version__} as before "
            f"(it was away for {milliseconds} ms)"
        )
    message = f"main: version {left.version} to {__version__}, away for {milliseconds} ms"
    log.info("%s", message)
    content = {"before": left.version, "version": __version__, "away_ms": milliseconds}
    await progress(message, content)
    ids = [worker.id for worker in parts.supervisor.workers]
    try:
        workers = await replace_workers(parts.supervisor, parts.events, ids, progress)
    except OperatorError as error:
        raise OperatorError(f"{message}; but not every worker runs it: {error}") from error
    return Answer(
        message=f"upgraded from version {left.version} to {__version__}", content={**content, "workers": workers}
    )


async def _log_progress(message: str, _content: Any) -> None:
    log.info("upgrade: %s", message)
