"""Verbs about what was: history, and rollback, which makes it so again."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from sozu_trio.control.answering import Answer
from sozu_trio.control.history import Entry, History
from sozu_trio.main.bodies import HistoryBody, RollbackBody
from sozu_trio.main.keeping import counts
from sozu_trio.main.parts import Call, Handlers, Parts
from sozu_trio.main.transactions import Order
from sozu_trio.routing.reconcile import roll_back
from sozu_trio.routing.state import State
from sozu_trio.telemetry.plural import count
from sozu_trio.telemetry.stamp import rfc3339


async def _history(parts: Parts, call: Call) -> Answer:
    limit = call.read(HistoryBody).limit
    history = parts.journal.history
    generations = list(islice(_generations(history, parts.config_path or parts.config.source), limit))
    message = count(len(generations), "generation")
    if len(generations) <= len(history.entries):
        message = f"{len(generations):,} of {count(len(history.entries) + 1, 'generation')}"
    if history.base_generation > 1:
        message += f"; those before {history.base_generation} are not kept"
    return Answer(message=message, content={"generations": generations})


def _generations(history: History, source: str) -> Iterator[dict[str, Any]]:
    """All that `rollback` reaches, newest first. Of the one it all begins with only the State is known."""
    yield from map(_generation, reversed(history.entries))
    first = history.base_generation
    yield {
        "generation": first,
        **dict.fromkeys(("time", "uid", "pid", "process")),
        "what": f"start {source}" if first == 1 else "all that came before, as one",
        "objects": sum(counts(history.base).values()),
    }


def _generation(entry: Entry) -> dict[str, Any]:
    return {
        "generation": entry.generation,
        "time": rfc3339(entry.time),
        "uid": entry.uid,
        "pid": entry.pid,
        "process": entry.process,
        "what": entry.what,
        "objects": len(entry.delta),
    }


async def _rollback(parts: Parts, call: Call) -> Answer:
    """What the file last said is a fact that no rollback changes, so the next start does not undo this one."""
    target = call.read(RollbackBody).generation
    renewed = 0

    def make(state: State) -> State:
        nonlocal renewed
        then = parts.journal.history.state_at(target)
        back = roll_back(state, then)
        renewed = sum(key not in then.certificates for key in back.certificates)
        return back

    order = Order(
        actor=call.actor,
        what=f"rollback {target}",
        make=make,
        large=True,
    )
    outcome = await parts.transactions.carry_out(order)
    but = f", but for {count(renewed, 'certificate')} whose files were renewed since" if renewed else ""
    return Answer(
        message=f"generation {outcome.generation} is what generation {target} was{but}",
        content={"generation": outcome.generation},
    )


HANDLERS: Handlers = {"history": _history, "rollback": _rollback}
