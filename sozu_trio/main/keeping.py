"""Verbs about State as a whole: save, load, dump, stats."""

import os
from functools import partial
from pathlib import Path
from typing import Any

import trio

from sozu_trio.control.answering import Answer
from sozu_trio.control.saved_state import dump_document, dump_text, load_into, read_saved_state
from sozu_trio.control.write import write_atomically
from sozu_trio.errors import ChangeRefused, OperatorError
from sozu_trio.main.bodies import EmptyBody, StateDumpBody, StateLoadBody, StateSaveBody
from sozu_trio.main.events import Event
from sozu_trio.main.parts import Call, Handlers, Parts
from sozu_trio.main.transactions import Order
from sozu_trio.routing.state import State


def counts(state: State) -> dict[str, int]:
    """How many records of each kind; certificates are not built yet."""
    return {
        "listeners": len(state.listeners),
        "clusters": len(state.clusters),
        "http_frontends": len(state.http_frontends),
        "tcp_frontends": len(state.tcp_frontends),
        "backends": sum(map(len, state.backends.values())),
        "certificates": 0,
    }


async def _stats(parts: Parts, call: Call) -> Answer:
    call.read(EmptyBody)
    counted = counts(parts.transactions.state)
    content = {**counted, "generation": parts.transactions.generation}
    return Answer(message=f"{sum(counted.values())} objects", content=content)


async def _dump(parts: Parts, call: Call) -> Answer:
    """Secrets are for who owns this process, and for root."""
    body = call.read(StateDumpBody)
    if body.with_secrets and call.peer.uid not in (0, os.getuid()):
        raise OperatorError(f"with-secrets: only the owner of the proxy may see them, not uid {call.peer.uid}")
    state, generation = parts.transactions.state, parts.transactions.generation
    document = await trio.to_thread.run_sync(partial(dump_document, state, generation, secrets=body.with_secrets))
    return Answer(message=f"generation {generation}", content=document)


async def _save(parts: Parts, call: Call) -> Answer:
    path = _path(parts, call.read(StateSaveBody).file)
    state, generation = parts.transactions.state, parts.transactions.generation
    try:
        await trio.to_thread.run_sync(_write, path, state, generation)
    except OSError as error:
        raise OperatorError(f"cannot save to {path}: {error.strerror or error}") from error
    parts.events.tell(Event(kind="STATE_SAVED", details=str(path)))
    objects = sum(counts(state).values())
    content = {"path": str(path), "objects": objects, "generation": generation}
    return Answer(message=f"{objects} objects saved to {path}", content=content)


def _path(parts: Parts, given: str | None) -> Path:
    path = Path(given) if given is not None else parts.config.program.saved_state
    if path is None:
        raise OperatorError("file: missing; want an absolute path, as the configuration has no saved_state")
    if not path.is_absolute():
        raise OperatorError(f"file: found {str(path)!r}; want an absolute path")
    return path


def _write(path: Path, state: State, generation: int) -> None:
    write_atomically(path, dump_text(dump_document(state, generation, secrets=True)).encode())


async def _load(parts: Parts, call: Call) -> Answer:
    """What is loaded comes on top of what is there, and counts as born over the socket."""
    body = call.read(StateLoadBody)
    saved = await trio.to_thread.run_sync(read_saved_state, body.content)
    if saved.unknown and not body.skip_unknown:
        raise ChangeRefused(saved.unknown)
    order = Order(
        actor=call.actor,
        what=f"state load: {saved.objects} objects",
        make=lambda state: load_into(state, saved),
        events=(Event(kind="STATE_LOADED"),),
        large=True,
    )
    outcome = await parts.transactions.carry_out(order)
    content: dict[str, Any] = {
        "generation": outcome.generation,
        "objects": saved.objects,
        "skipped": [str(each) for each in saved.unknown],
    }
    return Answer(message=f"{saved.objects} objects loaded", content=content)


HANDLERS: Handlers = {"state stats": _stats, "state dump": _dump, "state save": _save, "state load": _load}
