"""What main does when it is signalled. Nobody waits for an answer: what goes wrong is logged, and main goes on."""

import logging
import signal
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any, Final

import trio

from sozu_trio.errors import SozuTrioError
from sozu_trio.main.actors import ourselves
from sozu_trio.main.auditing import Attempt, audited
from sozu_trio.main.declaring import reload_file
from sozu_trio.main.parts import Parts
from sozu_trio.main.upgrading import replace_main
from sozu_trio.nursery.supervisor import Supervisor
from sozu_trio.routing.drains import grace_of

log = logging.getLogger(__name__)

SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP, signal.SIGUSR2)


async def obey(signals: AsyncIterator[int], parts: Parts, reopen_logs: Callable[[], None]) -> None:
    """SIGTERM, SIGINT: soft stop, the second one hard. SIGHUP: read the file again. SIGUSR1: reopen the logs. SIGUSR2:
    upgrade.
    """
    stopping = False
    async with trio.open_nursery() as working:
        async for number in signals:
            if parts.replacement is not None and parts.replacement.signals.keep(number):
                continue
            name = signal.Signals(number).name
            match number:
                case signal.SIGUSR1:
                    log.info("%s: log files are opened anew", name)
                    reopen_logs()
                case signal.SIGHUP:
                    working.start_soon(_reload, parts, name="reload")
                case signal.SIGUSR2:
                    working.start_soon(_upgrade, parts, name="upgrade")
                case _:
                    # A worker that does not answer keeps this one waiting; the next signal is heard all the same.
                    working.start_soon(partial(_stop, parts.supervisor, name, again=stopping), name="stop")
                    stopping = True


async def _stop(supervisor: Supervisor, name: str, *, again: bool) -> None:
    if again:
        log.warning("%s again: cutting every session", name)
        await supervisor.stop(0)
        return
    grace = grace_of(supervisor.program.shutdown_timeout)
    patience = "as long as they need" if grace is None else f"{grace:g} s"
    log.info("%s: stopping; sessions may take %s", name, patience)
    await supervisor.stop(grace)


async def _reload(parts: Parts) -> None:
    actor = ourselves("SIGHUP")
    attempt = Attempt(verb="reload", what="SIGHUP", actor=actor)
    try:
        outcome, config = await audited(parts, attempt, partial(reload_file, parts, None, prune=False, actor=actor))
    except SozuTrioError as error:
        log.error("SIGHUP: nothing is reloaded: %s", error)
    except Exception:
        log.exception("SIGHUP: internal error")
    else:
        log.info("SIGHUP: %s is in force: generation %d", config.source, outcome.generation)


async def _upgrade(parts: Parts) -> None:
    actor = ourselves("SIGUSR2")
    attempt = Attempt(verb="upgrade", what="SIGUSR2", actor=actor)
    try:
        await audited(parts, attempt, partial(replace_main, parts, None, actor=actor, asked=None, tell=_log))
    except SozuTrioError as error:
        log.error("SIGUSR2: nothing is upgraded: %s", error)
    except Exception:
        log.exception("SIGUSR2: internal error")


async def _log(message: str, _content: Any) -> None:
    log.info("SIGUSR2: %s", message)
