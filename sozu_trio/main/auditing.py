"""Every attempt to change something leaves a line in the audit log, whatever becomes of it."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import trio

from sozu_trio.errors import NotConfirmed, OperatorError
from sozu_trio.main.actors import Actor
from sozu_trio.main.audit import Deed
from sozu_trio.main.parts import Parts

Done = TypeVar("Done")


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Who is about to do what. `client`: the number of the control connection, None for a signal."""

    verb: str
    what: str
    actor: Actor
    client: int | None = None


async def audited(parts: Parts, attempt: Attempt, work: Callable[[], Awaitable[Done]]) -> Done:
    """What `work` returns or raises, written down."""
    began = time.monotonic()
    try:
        done = await work()
    except Exception as error:
        _record(parts, attempt, began, _result(error), str(error))
        raise
    except trio.Cancelled:
        _record(parts, attempt, began, "cancelled", None)
        raise
    _record(parts, attempt, began, "ok", None)
    return done


def _result(error: Exception) -> str:
    if isinstance(error, NotConfirmed):
        return "unconfirmed"
    return "refused" if isinstance(error, OperatorError) else "failed"


def _record(parts: Parts, attempt: Attempt, began: float, result: str, reason: str | None) -> None:
    deed = Deed(
        verb=attempt.verb,
        what=attempt.what,
        actor=attempt.actor,
        result=result,
        generation=parts.transactions.generation,
        elapsed=(time.monotonic() - began) * 1000,
        client=attempt.client,
        reason=reason,
    )
    parts.audit.record(deed)
