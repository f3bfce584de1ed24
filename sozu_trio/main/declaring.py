"""Verbs that make the proxy what a file says, or what it was: reload and plan, history and rollback."""

import dataclasses
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import trio

from sozu_trio.config.load import Config
from sozu_trio.control.answering import Answer
from sozu_trio.control.records import document_of
from sozu_trio.errors import OperatorError
from sozu_trio.main.actors import Actor
from sozu_trio.main.bodies import HistoryBody, ReloadBody, RollbackBody
from sozu_trio.main.declared import declared_by, read_file, waiting_for_a_start
from sozu_trio.main.events import Event
from sozu_trio.main.parts import Call, Handlers, Parts
from sozu_trio.main.transactions import Order, Outcome
from sozu_trio.routing.delta import Delta, diff
from sozu_trio.routing.reconcile import reload
from sozu_trio.routing.state import FrontendKey, State, frontend_key, listener_key, with_declared
from sozu_trio.telemetry.plural import count
from sozu_trio.telemetry.stamp import rfc3339


async def reload_file(parts: Parts, path: str | None, *, prune: bool, actor: Actor) -> tuple[Outcome, Config]:
    """Make the proxy equal to the file at `path`, by default the one given to serve, as one transaction.

    Raises OperatorError; a file that cannot be used changes nothing.
    """
    config = await _read(parts, path)
    order = Order(
        actor=actor,
        what=f"reload {config.source}" + (" --prune" if prune else ""),
        make=partial(reload, declared=declared_by(config), prune=prune),
        events=(Event(kind="CONFIGURATION_RELOADED", details=config.source),),
        large=True,
    )
    return await parts.transactions.carry_out(order), config


async def _reload(parts: Parts, call: Call) -> Answer:
    body = call.read(ReloadBody)
    outcome, config = await reload_file(parts, body.file, prune=body.prune, actor=call.actor)
    changes = [each for each in steps(outcome.before, outcome.delta) if each["kind"] != "declaration"]
    names = {
        past: [f"{each['kind']} {each['name']}" for each in changes if each["action"] == action]
        for action, past in (("add", "added"), ("change", "changed"), ("remove", "removed"))
    }
    counts = ", ".join(f"{len(each)} {past}" for past, each in names.items())
    content = {"generation": outcome.generation, **names, "notices": _notices(parts, config)}
    return Answer(message=f"{config.source}: {counts}", content=content)


async def _plan(parts: Parts, call: Call) -> Answer:
    body = call.read(ReloadBody)
    config = await _read(parts, body.file)
    before = parts.transactions.state
    generation = parts.transactions.generation
    changes = await trio.to_thread.run_sync(_differences, before, config, body.prune)
    content = {
        "generation": generation,
        "difference": bool(changes),
        "changes": changes,
        "notices": _notices(parts, config),
    }
    verdict = count(len(changes), "difference") if changes else "no difference"
    return Answer(message=f"{config.source}: {verdict}", content=content)


def _differences(before: State, config: Config, prune: bool) -> list[dict[str, Any]]:
    return list(steps(before, diff(before, reload(before, declared_by(config), prune=prune))))


async def _read(parts: Parts, path: str | None) -> Config:
    given = path or parts.config_path
    if given is None:
        raise OperatorError("serve was started without a file, so there is none to read again; say which with -f FILE")
    return await read_file(Path(given))


def _notices(parts: Parts, config: Config) -> list[str]:
    return [*waiting_for_a_start(parts.config.program, config.program), *map(str, config.notices)]


def steps(before: State, delta: Delta) -> Iterator[dict[str, Any]]:
    """What a change does, for people: action, kind, name, and for a change each field as [old, new]."""
    yield from (_step("remove", "listener", str(key[1])) for key in delta.gone_listeners)
    yield from (_step("remove", "cluster", key) for key in delta.gone_clusters)
    put_again = {frontend_key(each) for each in delta.http_frontends}
    yield from (
        _step("remove", "frontend", frontend_name(key)) for key in delta.gone_http_frontends if key not in put_again
    )
    yield from (_step("remove", "frontend", str(key)) for key in delta.gone_tcp_frontends)
    yield from (_step("remove", "backend", "/".join(key)) for key in delta.gone_backends)
    for listener in delta.listeners:
        yield _put("listener", str(listener.address), before.listeners.get(listener_key(listener)), listener)
    for cluster in delta.clusters:
        yield _put("cluster", cluster.cluster_id, before.clusters.get(cluster.cluster_id), cluster)
    for rule in delta.http_frontends:
        key = frontend_key(rule)
        yield _put("frontend", frontend_name(key), before.http_frontends.get(key), rule)
    for frontend in delta.tcp_frontends:
        yield _put("frontend", str(frontend.address), before.tcp_frontends.get(frontend.address), frontend)
    for backend in delta.backends:
        old = before.backends.get(backend.cluster_id, {}).get(backend.backend_id)
        yield _put("backend", f"{backend.cluster_id}/{backend.backend_id}", old, backend)
    if delta.settings is not None:
        yield _put("settings", "global keys", before.settings, delta.settings)
    if delta.declared is not None and not dataclasses.replace(delta, declared=None):
        # Nothing is served differently, but who removes what from the file later finds it gone.
        records = count(len(delta.declared), "record")
        yield _step("change", "declaration", f"{records} that the file declares from now on, or no longer")


def frontend_name(key: FrontendKey) -> str:
    """`127.0.0.1:8080 example.com PREFIX '/api' GET`."""
    return " ".join(filter(None, [str(key.address), key.hostname, key.path_type.value, repr(key.path), key.method]))


def _step(action: str, kind: str, name: str, fields: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"action": action, "kind": kind, "name": name, "fields": dict(fields or {})}


def _put(kind: str, name: str, old: Any, new: Any) -> dict[str, Any]:
    after = document_of(new)
    if old is None:
        return _step("add", kind, name, {field: [None, value] for field, value in after.items()})
    before = document_of(old)
    changed = {
        field: [before.get(field), after.get(field)]
        for field in {**before, **after}
        if before.get(field) != after.get(field)
    }
    return _step("change", kind, name, changed)


async def _history(parts: Parts, call: Call) -> Answer:
    limit = call.read(HistoryBody).limit
    entries = parts.journal.history.entries[-limit:] if limit else ()
    generations = [
        {
            "generation": entry.generation,
            "time": rfc3339(entry.time),
            "uid": entry.uid,
            "pid": entry.pid,
            "process": entry.process,
            "what": entry.what,
            "objects": len(entry.delta),
        }
        for entry in reversed(entries)
    ]
    return Answer(message=count(len(generations), "generation"), content={"generations": generations})


async def _rollback(parts: Parts, call: Call) -> Answer:
    """What the file last said is a fact that no rollback changes, so the next start does not undo this one."""
    target = call.read(RollbackBody).generation
    order = Order(
        actor=call.actor,
        what=f"rollback {target}",
        make=lambda state: with_declared(parts.journal.history.state_at(target), state.declared),
        large=True,
    )
    outcome = await parts.transactions.carry_out(order)
    return Answer(
        message=f"generation {outcome.generation} is what generation {target} was",
        content={"generation": outcome.generation},
    )


HANDLERS: Handlers = {"reload": _reload, "plan": _plan, "history": _history, "rollback": _rollback}
