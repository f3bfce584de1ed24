"""The verb that ends it all, telling how many are left meanwhile."""

import trio

from sozu_trio.control.answering import Answer
from sozu_trio.main.bodies import ShutdownBody
from sozu_trio.main.events import Event
from sozu_trio.main.parts import Call, Handlers, Parts
from sozu_trio.nursery.worker import grace_of

PERIOD = 1.0
"""Seconds between two progress replies."""


async def _shutdown(parts: Parts, call: Call) -> Answer:
    body = call.read(ShutdownBody)
    supervisor = parts.supervisor
    timeout = parts.config.program.shutdown_timeout if body.drain_timeout is None else body.drain_timeout
    grace = 0.0 if body.hard else grace_of(timeout)
    parts.events.tell(Event(kind="SOZU_STOP_REQUESTED", details="hard" if body.hard else "soft"))
    await supervisor.stop(grace)
    while True:
        with trio.move_on_after(PERIOD):
            await supervisor.stopped.wait()
            return Answer(message=f"stopped: {supervisor.cut} sessions cut", content={"cut": supervisor.cut})
        sessions = supervisor.counters().sessions
        await call.progress(f"{sessions} sessions left", {"sessions": sessions})


HANDLERS: Handlers = {"shutdown": _shutdown}
