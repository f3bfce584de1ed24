"""Verbs that make the proxy what a file says: reload, and plan, which only tells what that would change."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import trio

from sozu_trio.config.descriptor_check import refuse_misfit
from sozu_trio.config.descriptors import descriptors_of_worker
from sozu_trio.config.load import Config
from sozu_trio.control.answering import Answer
from sozu_trio.errors import ChangeRefused, OperatorError, Problem
from sozu_trio.main.actors import Actor
from sozu_trio.main.bodies import ReloadBody
from sozu_trio.main.certificate_files import read_certificate_files
from sozu_trio.main.declared import declared_by, read_file, waiting_for_a_start
from sozu_trio.main.events import Event
from sozu_trio.main.files import in_thread
from sozu_trio.main.named_files import with_files_read
from sozu_trio.main.parts import Call, Handlers, Parts
from sozu_trio.main.seen_files import SeenFiles
from sozu_trio.main.steps import steps
from sozu_trio.main.transactions import Order, Outcome
from sozu_trio.routing.crosswise import Crosswise, crosswise
from sozu_trio.routing.delta import diff
from sozu_trio.routing.reconcile import reload
from sozu_trio.routing.spoken import spoken_frontend
from sozu_trio.routing.state import State
from sozu_trio.telemetry.plural import count


async def reload_file(parts: Parts, path: str | None, *, prune: bool, actor: Actor) -> tuple[Outcome, Config]:
    """Make the proxy equal to the file at `path`, by default the one given to serve, as one transaction.

    Raises OperatorError; a file that cannot be used changes nothing.
    """
    with parts.service_manager.reloading():
        config, declared, seen = await _read(parts, path)
        order = _order(config, declared, prune, actor)
        follow = partial(parts.certificate_watch.follow, seen, config.program.certificate_check_interval)
        return await parts.transactions.carry_out(replace(order, follow=follow)), config


def _order(config: Config, declared: State, prune: bool, actor: Actor) -> Order:
    return Order(
        actor=actor,
        what=f"reload {config.source}" + (" --prune" if prune else ""),
        make=partial(_reconciled, declared=declared, prune=prune),
        events=(Event(kind="CONFIGURATION_RELOADED", details=config.source),),
        large=True,
        workers=config.program.worker_count,
    )


def _reconciled(state: State, declared: State, prune: bool) -> State:
    """Raises ChangeRefused for what came over the socket and no longer fits."""
    reloaded = reload(state, declared, prune=prune)
    if problems := tuple(map(_way_out, crosswise(reloaded))):
        raise ChangeRefused(problems)
    return reloaded


def _way_out(each: Crosswise) -> Problem:
    where = f"{spoken_frontend(each.frontend)}, added over the socket"
    return Problem(where, f"{each.what}, or this frontend removed, as reload --prune does")


async def _reload(parts: Parts, call: Call) -> Answer:
    body = call.read(ReloadBody)
    outcome, config = await reload_file(parts, body.file, prune=body.prune, actor=call.actor)
    changes = await trio.to_thread.run_sync(lambda: list(steps(outcome.before, outcome.delta)))
    changes = [each for each in changes if each["kind"] != "declaration"]
    changes += _counted(*outcome.workers)
    names = {
        past: [f"{each['kind']} {each['name']}" for each in changes if each["action"] == action]
        for action, past in (("add", "added"), ("change", "changed"), ("remove", "removed"), ("move", "moved"))
    }
    counts = ", ".join(f"{len(each)} {past}" for past, each in names.items() if each or past != "moved")
    content = {"generation": outcome.generation, **names, "notices": _notices(parts, config)}
    return Answer(message=f"{config.source}: {counts}", content=content)


async def _plan(parts: Parts, call: Call) -> Answer:
    body = call.read(ReloadBody)
    if body.file not in (None, parts.config_path) and not call.peer.may_change:
        # What is wrong with a file is told with what stands there.
        raise OperatorError(
            f"file: read-only: uid {call.peer.uid} may only have the configuration file read; want no file"
        )
    config, declared, _ = await _read(parts, body.file)
    before = parts.transactions.state
    generation = parts.transactions.generation
    changes = await trio.to_thread.run_sync(_differences, before, declared, body.prune)
    changes += _counted(parts.supervisor.worker_count, config.program.worker_count)
    content = {
        "generation": generation,
        "difference": bool(changes),
        "changes": changes,
        "notices": _notices(parts, config),
    }
    verdict = count(len(changes), "difference") if changes else "no difference"
    return Answer(message=f"{config.source}: {verdict}", content=content)


def _differences(before: State, declared: State, prune: bool) -> list[dict[str, Any]]:
    return list(steps(before, diff(before, _reconciled(before, declared, prune))))


def _counted(before: int, after: int) -> list[dict[str, Any]]:
    """The number of workers as a step (`main/steps.py`), where it changes. It is no part of State."""
    if before == after:
        return []
    return [
        {"action": "change", "kind": "worker_count", "name": str(after), "fields": {"worker_count": [before, after]}}
    ]


async def _read(parts: Parts, path: str | None) -> tuple[Config, State, SeenFiles]:
    """What the file says, with the certificates in the files that it names. Raises OperatorError."""
    given = path or parts.config_path
    if given is None:
        raise OperatorError("serve was started without a file, so there is none to read again; say which with -f FILE")
    config = await in_thread(with_files_read, await read_file(Path(given)))
    refuse_misfit(config, descriptors_of_worker())
    certificates = await in_thread(read_certificate_files, config, parts.transactions.state.certificates.keys())
    return config, await in_thread(declared_by, config, certificates.records), certificates.seen


def _notices(parts: Parts, config: Config) -> list[str]:
    return [*waiting_for_a_start(parts.config.program, config.program), *map(str, config.notices)]


HANDLERS: Handlers = {"reload": _reload, "plan": _plan}
