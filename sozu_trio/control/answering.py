"""One request → its reply, whatever the one who answers does: an operator's mistake is a failure with all its problems,
a mistake of ours a failure that says no more than where to look, and the log has the rest.
"""

import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

from sozu_trio.control.permissions import Peer
from sozu_trio.control.protocol import IN_MESSAGE, Reply, Request, Status, problems_content, write_reply
from sozu_trio.errors import OperatorError, Problem, first_problems

log = logging.getLogger(__name__)

INTERNAL = "internal error: see the proxy's log"

Progress = Callable[[str, Any], Awaitable[None]]
"""`await progress(message, content)` sends one `processing` reply. For a request that changes something it never waits:
a client that does not read must hold up no transaction, so what does not fit is left out.
"""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request came to. `content` is JSON: objects, arrays, text, numbers, booleans and None."""

    message: str
    content: Any = None
    ok: bool = True


Answerer = Callable[[Peer, Request, Progress], Awaitable[Answer]]
"""Carries a request out. May raise OperatorError; anything else is an internal error."""


async def answered(answer: Answerer, peer: Peer, request: Request, progress: Progress) -> bytes:
    """The line that ends `request`: its answer, or why there is none. Only cancellation passes, alone."""
    try:
        reply = _reply(request, await answer(peer, request, progress))
        return write_reply(reply)
    except Exception as error:
        return write_reply(_refusal(peer, request, error))
    except BaseExceptionGroup as group:
        beside, passing = group.split(Exception)
        if beside is not None:
            # Nobody waits for the answer any more; a mistake of ours is logged all the same.
            _refusal(peer, request, beside)
        assert passing is not None
        raise passing from None


def _refusal(peer: Peer, request: Request, error: Exception) -> Reply:
    # A nursery's failures come in groups, also when there is but one.
    leaves = list(_leaves(error))
    mistakes = [leaf for leaf in leaves if isinstance(leaf, OperatorError)]
    if len(mistakes) == len(leaves):
        return _failure(request, mistakes)
    log.error("%s: request %r, %r: internal error", peer, request.id, request.verb, exc_info=error)
    return Reply(id=request.id, status="failure", message=INTERNAL)


def _reply(request: Request, answer: Answer) -> Reply:
    status: Status = "ok" if answer.ok else "failure"
    return Reply(id=request.id, status=status, message=answer.message, content=answer.content)


def _failure(request: Request, mistakes: list[OperatorError]) -> Reply:
    problems = first_problems([problem for mistake in mistakes for problem in _problems(mistake)])
    content = problems_content(problems) if problems else {}
    for mistake in mistakes:
        content |= mistake.content or {}
    return Reply(id=request.id, status="failure", message="\n".join(map(_message, mistakes)), content=content or None)


def _message(mistake: OperatorError) -> str:
    """A mistake that has problems says one on each line."""
    *_, last = first_problems(_problems(mistake), IN_MESSAGE) or (None,)
    if last is None or not last.others:
        return str(mistake)
    return "\n".join([*str(mistake).split("\n", IN_MESSAGE)[:IN_MESSAGE], str(last)])


def _problems(error: Exception) -> tuple[Problem, ...]:
    """Whatever error has problems has them in an attribute of that name."""
    return tuple(getattr(error, "problems", ()))


def _leaves(error: Exception) -> Iterator[Exception]:
    if isinstance(error, ExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error
