"""Events as they happen, told to a client until it goes."""

import time

from sozu_trio.control.answering import Answer
from sozu_trio.main.bodies import EmptyBody
from sozu_trio.main.parts import Call, Handlers, Parts
from sozu_trio.telemetry.stamp import rfc3339


async def _events(parts: Parts, call: Call) -> Answer:
    call.read(EmptyBody)
    with parts.events.listen() as events:
        await call.progress("events", {"kind": "EVENTS_SUBSCRIBED", "time": rfc3339(time.time())})
        async for event in events:
            await call.progress("event", event)
    if parts.events.ended:
        return Answer(message=parts.events.ended, content={})
    return Answer(message="dropped: events came faster than they were read", ok=False)


HANDLERS: Handlers = {"events": _events}
