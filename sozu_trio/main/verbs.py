"""Verb → who answers it, and the one place where an answer is given: known? allowed? done? written down?"""

from collections.abc import Mapping
from difflib import get_close_matches
from functools import partial

from sozu_trio.control.answering import Answer, Progress
from sozu_trio.control.permissions import Peer
from sozu_trio.control.protocol import Request
from sozu_trio.errors import OperatorError
from sozu_trio.main import (
    certifying,
    changing,
    declaring,
    ending,
    explaining,
    following,
    keeping,
    limiting,
    listing,
    looking,
    measuring,
    remembering,
    upgrading,
)
from sozu_trio.main.auditing import Attempt, audited
from sozu_trio.main.parts import Call, Handler, Handlers, Parts
from sozu_trio.main.summaries import summary, summary_of_all

HANDLERS: Handlers = {
    **changing.HANDLERS,
    **declaring.HANDLERS,
    **remembering.HANDLERS,
    **keeping.HANDLERS,
    **listing.HANDLERS,
    **limiting.HANDLERS,
    **certifying.HANDLERS,
    **looking.HANDLERS,
    **measuring.HANDLERS,
    **following.HANDLERS,
    **explaining.HANDLERS,
    **ending.HANDLERS,
    **upgrading.HANDLERS,
}

NOT_BUILT: Mapping[str, str] = {
    "metrics enable": "counters are plain integers here and always on",
    "metrics disable": "counters are plain integers here and always on",
    "metrics clear": "counters are never set back: take the difference of two readings",
    "cluster health-check list": "verb: found 'cluster health-check list', which is not built yet: health checks",
}
"""Verbs of Sōzu that are known and refused, with the reason; those that change State refuse themselves."""

LOOKING = {
    *(
        *listing.HANDLERS,
        *limiting.HANDLERS,
        *certifying.HANDLERS,
        *looking.HANDLERS,
        *measuring.HANDLERS,
        *following.HANDLERS,
        *explaining.HANDLERS,
    ),
    *("plan", "history", "state dump", "state stats"),
} - {"session kill"}
"""Verbs that change nothing."""


def changes_something(verb: str) -> bool:
    """Whether a peer that may only look must not say it. An unknown verb changes nothing."""
    return verb in HANDLERS and verb not in LOOKING


class Verbs:
    """Answers requests, and has an audit line written for each that changes something."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def answer(self, peer: Peer, request: Request, progress: Progress) -> Answer:
        """Raises OperatorError for what is refused."""
        handler = HANDLERS.get(request.verb)
        if handler is None:
            raise OperatorError(NOT_BUILT.get(request.verb) or _unknown(request.verb))
        call = Call(peer=peer, verb=request.verb, body=request.body, progress=progress, request=request.id)
        if request.verb in LOOKING:
            return await handler(self._parts, call)
        attempt = Attempt(verb=call.verb, what=_what(call), actor=call.actor, client=peer.client_id)
        return await audited(self._parts, attempt, partial(self._change, handler, call))

    async def _change(self, handler: Handler, call: Call) -> Answer:
        if not call.peer.may_change:
            raise OperatorError(f"read-only: uid {call.peer.uid} may only look")
        return await handler(self._parts, call)


def _what(call: Call) -> str:
    """The request on one line, without secrets."""
    changes = call.body.get("changes")
    if call.verb == "apply" and isinstance(changes, list):
        return summary_of_all(changes)
    return summary(call.verb, call.body)


def _unknown(verb: str) -> str:
    known = sorted({*HANDLERS, *NOT_BUILT})
    nearest = get_close_matches(verb, known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return f"verb: unknown: {verb[:80]!r}{hint}"
