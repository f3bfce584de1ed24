"""The verb that ends it all, telling who is left meanwhile."""

import trio

from sozu_trio.config.values import show
from sozu_trio.control.answering import Answer
from sozu_trio.errors import ChangeRefused, Problem
from sozu_trio.main.bodies import ShutdownBody
from sozu_trio.main.draining import PERIOD, look_at_left
from sozu_trio.main.events import Event
from sozu_trio.main.parts import Call, Handlers, Parts
from sozu_trio.routing.drains import grace_of
from sozu_trio.telemetry.plural import count


async def _shutdown(parts: Parts, call: Call) -> Answer:
    body = call.read(ShutdownBody)
    if body.hard and body.drain_timeout is not None:
        what = f"found {show(body.drain_timeout)} and hard = true; want only one of both"
        raise ChangeRefused((Problem("drain-timeout", what),))
    supervisor = parts.supervisor
    timeout = parts.config.program.shutdown_timeout if body.drain_timeout is None else body.drain_timeout
    grace = 0.0 if body.hard else grace_of(timeout)
    parts.events.tell(Event(kind="SOZU_STOP_REQUESTED", details="hard" if body.hard else "soft"))
    await supervisor.stop(grace)
    while True:
        with trio.move_on_after(PERIOD):
            await supervisor.stopped.wait()
            return Answer(message=f"stopped: {count(supervisor.cut, 'session')} cut", content={"cut": supervisor.cut})
        left = await look_at_left(supervisor)
        await left.tell(supervisor.deadline, call.progress)


HANDLERS: Handlers = {"shutdown": _shutdown}
