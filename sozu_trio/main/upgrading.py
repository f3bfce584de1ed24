"""The verb that has main run other code, and the signal for it: new code shows that it can take over, then main
executes it in its own place and goes on there (`continuing.py`).
"""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Never

from sozu_trio import __version__
from sozu_trio.config.values import show
from sozu_trio.control.answering import Answer, Progress
from sozu_trio.control.codec import converter
from sozu_trio.control.conversation import Handover
from sozu_trio.errors import ChangeRefused, OperatorError, Problem
from sozu_trio.main.actors import Actor
from sozu_trio.main.bodies import UpgradeBody
from sozu_trio.main.events import Event
from sozu_trio.main.handoff import Handoff, limit_with
from sozu_trio.main.parts import Call, Handlers, Parts
from sozu_trio.main.preflight import Ready, fit_to_run, preflight
from sozu_trio.main.replacement import Asked, Replacement
from sozu_trio.main.replacing import replace_worker
from sozu_trio.main.room import refuse_without_room
from sozu_trio.main.seen_files import handed_over
from sozu_trio.nursery.kept_code import KeptCode

log = logging.getLogger(__name__)


async def _upgrade(parts: Parts, call: Call) -> Answer:
    body = call.read(UpgradeBody)
    if body.worker is not None:
        if body.python is not None:
            what = f"found {show(body.python)} and a worker; want only one of both, for workers run main's code"
            raise ChangeRefused((Problem("python", what),))
        return await replace_worker(parts, body.worker, call.progress)
    asked = Asked(client=call.peer.client_id, request=call.request)
    return await replace_main(parts, body.python, actor=call.actor, asked=asked, tell=call.progress)


async def replace_main(parts: Parts, python: str | None, *, actor: Actor, asked: Asked | None, tell: Progress) -> Never:
    """Have new code take over. `python`: the interpreter that finds it, None = the one that runs now; `asked`: who is
    to hear of it afterwards.

    Raises OperatorError where it does not; everything is as it was then.
    """
    replacement = parts.replacement
    if replacement is None:
        raise OperatorError("this main was not started as a program of its own, so no other one can take its place")
    if parts.config_path is None:
        raise OperatorError(
            "serve was started without a file: the demonstration cannot be upgraded, only started again"
        )
    if replacement.under_way:
        raise OperatorError("an upgrade is under way already")
    executable = python or replacement.launch.executable
    fit_to_run(executable)
    replacement.under_way = True
    try:
        await have_way_back(replacement.code)
        async with preflight(parts, replacement.launch, executable) as ready:
            await tell(f"version {ready.version} is ready to take over from {__version__}", {"version": ready.version})
            await _replace(parts, replacement, executable, ready, actor, asked)
    finally:
        replacement.under_way = False


async def have_way_back(code: KeptCode) -> None:
    """Wait for the code that runs to be kept, for new code that fails is replaced by it. Raises OperatorError where it
    could not be.
    """
    await code.keep()
    if code.descriptor is None:
        raise OperatorError(
            "the code that runs now could not be kept at its start (the log says why), so there is no way back from "
            "new code that fails; want a stop and a start"
        )


@asynccontextmanager
async def at_rest(parts: Parts) -> AsyncIterator[None]:
    """Nothing changes while the body runs. The upgrade of a worker, which takes long, is waited for first: changes go
    on meanwhile. Raises OperatorError when the proxy is stopping.
    """
    async with parts.supervisor.upgrading, parts.transactions.still(), parts.supervisor.still(), parts.journal.still():
        yield


async def _replace(
    parts: Parts, replacement: Replacement, executable: str, ready: Ready, actor: Actor, asked: Asked | None
) -> Never:
    def handoff(heirlooms: Mapping[str, int], client: Handover | None, away_since: float) -> Handoff:
        if parts.supervisor.stopping.is_set():
            raise OperatorError("the proxy is stopping: nothing can be changed")
        return _handoff(parts, ready, actor, dict(heirlooms), client, away_since)

    async with at_rest(parts):
        refuse_without_room(parts.supervisor.estate())
        parts.events.tell(Event(kind="MAIN_UPGRADE", details=f"{__version__} to {ready.version}"))
        parts.events.end("main is replaced: ask again")
        try:
            with replacement.signals.keeping(), parts.service_manager.reloading():
                parts.service_manager.alive()
                await replacement.execute(executable, ready.code, asked, handoff)
        finally:
            parts.events.begin_again()


def _handoff(
    parts: Parts, ready: Ready, actor: Actor, heirlooms: dict[str, int], client: Handover | None, away_since: float
) -> Handoff:
    assert parts.replacement is not None
    assert parts.config_path is not None
    return Handoff(
        version=__version__,
        wanted=ready.version,
        heirlooms=heirlooms,
        limit=limit_with(parts.service_manager.watchdog),
        estate=parts.supervisor.estate(),
        client=client,
        actor=actor,
        launch=parts.replacement.launch,
        source=parts.config.source,
        config_path=parts.config_path,
        program=ready.program,
        program_before=converter.unstructure(parts.config.program),
        started=parts.started,
        away_since=away_since,
        certificate_files=handed_over(parts.certificate_watch.seen),
        signals=parts.replacement.signals.numbers,
    )


HANDLERS: Handlers = {"upgrade": _upgrade}
