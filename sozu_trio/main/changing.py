"""Verbs that change State: each change on its own, or many of them as one transaction."""

import math
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import trio

from sozu_trio.config.directives import fault_in
from sozu_trio.config.report import Notice, Report, place
from sozu_trio.config.structure import structure_whole
from sozu_trio.config.values import show
from sozu_trio.control.answering import Answer
from sozu_trio.control.batch import read_batch
from sozu_trio.control.certificates import with_certificates_read
from sozu_trio.errors import ChangeRefused, Problem
from sozu_trio.main.bodies import ApplyBody
from sozu_trio.main.certificates import Pem
from sozu_trio.main.draining import Leaving, look_at_left, wait_for_the_last
from sozu_trio.main.files import absolute, in_thread, read_whole
from sozu_trio.main.parts import Call, Handlers, Parts
from sozu_trio.main.summaries import summary, summary_of_all
from sozu_trio.main.transactions import Order, Outcome
from sozu_trio.routing.change_listeners import key_of
from sozu_trio.routing.changes import (
    CHANGE_VERBS,
    Change,
    apply_all,
    awaited_by,
    drains_of,
    ids_made,
    read_change,
    things_meant,
)
from sozu_trio.routing.drains import Awaited, Drains
from sozu_trio.routing.refusal import Thing
from sozu_trio.routing.state import State
from sozu_trio.routing.uncovered import uncovered
from sozu_trio.telemetry.plural import count

MANY = 100
"""Changes from which on a batch is worked out in a thread."""
MANY_CERTIFICATES = 10
"""Those of them from which on it is read in a thread: each takes up to a millisecond."""
_NUMBER = re.compile(r"changes\[(\d+)\]")


async def change(parts: Parts, call: Call) -> Answer:
    """One change: the verb and its options are the request's."""
    report = Report()
    read = _read(call.verb, call.body, "", report)
    if read is None or report.problems:
        raise ChangeRefused(tuple(report.problems))
    outcome, drained = await _carry_out(parts, call, [read], summary(call.verb, call.body))
    notices = [*report.notices, *uncovered(outcome.before, parts.transactions.state, [read])]
    content = {**_content(outcome, notices), **drained, **ids_made(outcome.before, read)}
    return Answer(message=f"{call.verb}: done{_cut(drained)}", content=content)


async def apply(parts: Parts, call: Call) -> Answer:
    """Any number of changes: all or none."""
    body = call.read(ApplyBody)
    given = await _given(body)
    read = partial(_read_all, given, parts.transactions.state)
    changes, notices = await trio.to_thread.run_sync(read) if _takes_long(given) else read()
    outcome, drained = await _carry_out(parts, call, changes, summary_of_all(given, body.file))
    notices += uncovered(outcome.before, parts.transactions.state, changes)
    content = {**_content(outcome, notices), **drained, "changes": len(given)}
    return Answer(message=f"{count(len(given), 'change')} done{_cut(drained)}", content=content)


def _takes_long(given: Sequence[Any]) -> bool:
    if len(given) > MANY:
        return True
    verbs = [str(each.get("verb")) for each in given if isinstance(each, Mapping)]
    return sum(verb.startswith("certificate") for verb in verbs) > MANY_CERTIFICATES


async def _given(body: ApplyBody) -> tuple[Any, ...]:
    """The changes of a request, or of the file it names. Raises OperatorError."""
    if body.file is None:
        if body.changes is None:
            raise ChangeRefused((Problem("changes", "missing; want an array of changes, or file: the path of one"),))
        return body.changes
    if body.changes is not None:
        raise ChangeRefused((Problem("file", f"found {show(body.file)} and changes; want only one of both"),))
    return await in_thread(_changes_in, absolute(body.file))


def _changes_in(path: Path) -> tuple[Any, ...]:
    report = Report()
    batch = structure_whole(read_batch(str(path), read_whole(path)), report, _Batch)
    if batch is None:
        raise ChangeRefused(tuple(report.problems))
    return batch.changes


@dataclass(frozen=True, slots=True, kw_only=True)
class _Batch:
    """What a file of changes holds."""

    changes: tuple[Any, ...]


async def _carry_out(parts: Parts, call: Call, changes: Sequence[Change], what: str) -> tuple[Outcome, dict[str, int]]:
    """What came of `changes`, and how many sessions were cut where they are to drain; empty where nothing is."""
    drain_timeout = parts.config.program.shutdown_timeout
    drains, awaited = drains_of(changes, drain_timeout), awaited_by(changes)
    order = Order(
        actor=call.actor,
        what=what,
        make=partial(_apply_all, changes),
        drains=drains,
        large=len(changes) > MANY,
    )
    if not awaited.anything:
        return await parts.transactions.carry_out(order), {}
    before = await look_at_left(parts.supervisor, _leaving(awaited, parts.transactions.state))
    outcome = await parts.transactions.carry_out(order)
    deadline = trio.current_time() + _longest(drains, awaited)
    leaving = _leaving(awaited, outcome.before)
    left = await wait_for_the_last(parts.supervisor, leaving, deadline, call.progress)
    return outcome, {"cut": left.cut_since(before)}


def _leaving(awaited: Awaited, state: State) -> Leaving:
    return Leaving(listeners=awaited.listeners, backends=awaited.removed(state))


def _longest(drains: Drains, awaited: Awaited) -> float:
    """Seconds until the last of `awaited` is cut; inf where one never is."""
    graces = [
        *(drains.listeners[key_of(address)] for address in awaited.listeners),
        *(drains.backends[name] for name in awaited.backends),
        *(drains.clusters[cluster_id] for cluster_id in awaited.clusters),
    ]
    return max(math.inf if grace is None else grace for grace in graces)


def _cut(drained: Mapping[str, int]) -> str:
    return f"; {count(drained['cut'], 'session')} cut" if drained else ""


def _content(outcome: Outcome, notices: Sequence[Notice]) -> dict[str, Any]:
    return {"generation": outcome.generation, **({"notices": list(map(str, notices))} if notices else {})}


def _apply_all(changes: Sequence[Change], state: State) -> State:
    return apply_all(state, changes)


def _read_all(given: Sequence[Any], state: State) -> tuple[list[Change], list[Notice]]:
    """The changes of a batch for `state`, and what is to be told of them. Raises ChangeRefused with everything that is
    wrong, in the order of the changes, once anything cannot be read.
    """
    report = Report()
    changes, lost = [], set[Thing]()
    for index, each in enumerate(given):
        read = _read_one(each, place("changes", index), report)
        if read is not None:
            changes.append(read)
        elif isinstance(each, Mapping):
            lost |= things_meant(each.get("verb"), each)
    if report.problems:
        problems = (*report.problems, *_misfits(state, changes, lost))
        raise ChangeRefused(tuple(sorted(problems, key=_number)))
    return changes, report.notices


def _number(problem: Problem) -> int:
    """Of the change that has the problem."""
    found = _NUMBER.match(problem.where)
    return int(found[1]) if found else -1


def _misfits(state: State, changes: Sequence[Change], lost: Collection[Thing]) -> tuple[Problem, ...]:
    """What else would be wrong with a batch that is refused already."""
    try:
        apply_all(state, changes, lost)
    except ChangeRefused as refused:
        return refused.problems
    return ()


def _read_one(given: Any, where: str, report: Report) -> Change | None:
    """A change out of a batch, its verb among its options."""
    if not isinstance(given, Mapping):
        report.wrong(where, f"found {show(given)}; want a table of a verb and its options")
        return None
    body = dict(given)
    verb = body.pop("verb", None)
    if verb is None:
        report.missing(place(where, "verb"), "a verb that changes something, such as 'backend add'")
        return None
    if not isinstance(verb, str):
        report.wrong(place(where, "verb"), f"found {show(verb)}; want a string, such as 'backend add'")
        return None
    return _read(verb, body, where, report)


def _read(verb: str, body: Mapping[str, Any], where: str, report: Report) -> Change | None:
    if verb == "logging":
        _check_directives(body, where, report)
    change = read_change(verb, body, report, where)
    return change and with_certificates_read(change, Pem(time.time()), report)


def _check_directives(body: Mapping[str, Any], where: str, report: Report) -> None:
    """Directives are the log's own language, which the change itself only carries."""
    text = body.get("filter")
    if isinstance(text, str) and (fault := fault_in(text)):
        report.wrong(place(where, "filter"), fault)


HANDLERS: Handlers = {**dict.fromkeys(CHANGE_VERBS, change), "apply": apply}
