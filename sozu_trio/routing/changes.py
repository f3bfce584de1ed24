"""Changes of State: one verb of the control socket with its body, alone or many as one transaction.

    verb, JSON → read_change → Change → apply_all → State, or every problem of every change

Reading judges what a body says by itself, applying what only the State can tell. Both are pure. Who carries a verb out
is in `change_clusters.py`, `change_frontends.py` and `change_listeners.py`; what must fit when all is done, `links.py`.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from sozu_trio.config.addresses import parse_address
from sozu_trio.config.bodies import (
    BackendAdd,
    BackendRemove,
    ClusterBody,
    ClusterRemove,
    ConnectionLimitRemove,
    ConnectionLimitSet,
    HttpFrontendAdd,
    HttpListenerBody,
    ListenerStop,
    LoggingBody,
    TcpFrontendAdd,
    TcpListenerBody,
)
from sozu_trio.config.reading import read_body
from sozu_trio.config.report import Report, place
from sozu_trio.config.values import show
from sozu_trio.config.verbs import BODIES as CHANGE_VERBS
from sozu_trio.errors import ChangeRefused, Problem
from sozu_trio.routing import change_certificates, change_clusters, change_frontends, change_listeners
from sozu_trio.routing.change_certificates import CertificateAddition
from sozu_trio.routing.change_frontends import rule_of
from sozu_trio.routing.change_listeners import key_of
from sozu_trio.routing.delta import BackendName
from sozu_trio.routing.draft import Draft
from sozu_trio.routing.drains import Awaited, Drains, grace_of
from sozu_trio.routing.links import misfits
from sozu_trio.routing.refusal import Refusal, Thing
from sozu_trio.routing.state import ListenerKey, State

__all__ = [
    "CHANGE_VERBS",
    "Change",
    "apply",
    "apply_all",
    "awaited_by",
    "drains_of",
    "ids_made",
    "read_change",
    "things_meant",
]

_Removal = ListenerStop | BackendRemove | ClusterRemove

HINTS = 20
"""Problems of one transaction for which near misses are looked up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One change, as `read_change` makes it: whatever its body says by itself is right."""

    verb: str
    body: Any
    """The table that CHANGE_VERBS has for the verb."""
    where: str = ""
    """What problems call it, `changes[3]`; empty for a change on its own."""


def read_change(verb: str, body: Mapping[str, Any], report: Report, where: str = "") -> Change | None:
    """The change that `verb` asks for. None when anything is wrong with it, which `report` then knows."""
    if verb not in CHANGE_VERBS:
        nearest = get_close_matches(verb, CHANGE_VERBS, n=1) if len(verb) < 80 else []
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ", or none that changes anything"
        report.wrong(place(where, "verb"), f"found {show(verb)}, which is unknown{hint}")
        return None
    table = read_body(verb, body, report, where)
    return None if table is None else Change(verb=verb, body=table, where=where)


def apply(state: State, change: Change) -> State:
    """`state` after `change`. Raises ChangeRefused."""
    return apply_all(state, (change,))


def apply_all(state: State, changes: Sequence[Change], lost: Collection[Thing] = ()) -> State:
    """`state` after all of `changes`, in order. Raises ChangeRefused with every problem of any of them: what is wrong
    is left out to judge the rest, and what only follows from that is not told.

    `lost`: what other changes, which could not even be read, would have added.
    """
    draft, made, refusals = Draft(state), {}, []
    for number, change in enumerate(changes):
        try:
            _CARRIED_OUT[change.verb](draft, change.body)
            made[number] = change.body
        except Refusal as refusal:
            refusals.append((number, refusal))
    refusals += misfits(draft, made)
    if refusals:
        raise ChangeRefused(_problems(changes, sorted(refusals, key=lambda each: each[0]), lost))
    return draft.state()


def _problems(
    changes: Sequence[Change], refusals: Sequence[tuple[int, Refusal]], lost: Collection[Thing]
) -> tuple[Problem, ...]:
    refused = {*lost, *(_thing_added(changes[number]) for number, _ in refusals)}
    problems: list[Problem] = []
    for number, refusal in refusals:
        if refusal.lacking is None or refusal.lacking not in refused:
            # The key may lead into an array.
            where = ".".join(filter(None, (changes[number].where, refusal.key)))
            hint = refusal.hint() if len(problems) < HINTS else ""
            problems.append(Problem(where, refusal.what + hint))
    return tuple(problems)


def _thing_added(change: Change) -> Thing | None:
    """What an addition would have added."""
    match change.body if change.verb.endswith(" add") else None:
        case ClusterBody() as body:
            return "cluster", body.id
        case BackendAdd() as body:
            return "backend", (body.id, body.backend_id)
        case HttpFrontendAdd() as body:
            return "http frontend", rule_of(body)
        case TcpFrontendAdd() as body:
            return "tcp frontend", body.address
        case HttpListenerBody() | TcpListenerBody() as body:
            return "listener", body.address
        case CertificateAddition() as body:
            return "certificate", (body.address, body.certificate.fingerprint)
    return None


def things_meant(verb: object, body: Mapping[str, Any]) -> set[Thing]:
    """What a change that could not be read would have added, as far as that can be told; where the verb is no change,
    whatever its options may name.
    """
    texts = {name: text for name in ("id", "backend-id", "address") if isinstance(text := body.get(name), str)}
    cluster_id = texts.get("id")
    meant: dict[str, Thing] = {
        "cluster add": ("cluster", cluster_id),
        "backend add": ("backend", (cluster_id, texts.get("backend-id"))),
    }
    with suppress(ValueError):
        address = parse_address(texts.get("address", ""))
        listener: Thing = ("listener", address)
        meant |= {f"listener {protocol} add": listener for protocol in ("http", "https", "tcp")}
        meant["frontend tcp add"] = ("tcp frontend", address)
    is_change = isinstance(verb, str) and verb in CHANGE_VERBS
    return {thing for adding, thing in meant.items() if adding == verb or not is_change}


def ids_made(before: State, change: Change) -> dict[str, str]:
    """Ids that `change` leaves to the proxy, by what they are ids of, as `apply` to `before` chooses them."""
    body = change.body
    if not isinstance(body, BackendAdd):
        return {}
    return {"backend_id": change_clusters.id_of(Draft(before).backends(body.id), body)}


def awaited_by(changes: Sequence[Change]) -> Awaited:
    """That of which `changes` want to know when the last session has gone."""
    bodies = [each.body for each in changes if isinstance(each.body, _Removal) and each.body.drain]
    return Awaited(
        listeners=frozenset(body.address for body in bodies if isinstance(body, ListenerStop)),
        backends=frozenset((body.id, body.backend_id) for body in bodies if isinstance(body, BackendRemove)),
        clusters=frozenset(body.id for body in bodies if isinstance(body, ClusterRemove)),
    )


def drains_of(changes: Sequence[Change], drain_timeout: float) -> Drains:
    """How long the sessions of what `changes` remove may go on; of several with one name the last counts.

    `drain_timeout`: seconds for what is to be drained of which nothing else is said, 0 = for ever.
    """
    listeners: dict[ListenerKey, float | None] = {}
    backends: dict[BackendName, float | None] = {}
    clusters: dict[str, float | None] = {}
    for change in changes:
        match change.body:
            case ListenerStop() as body:
                listeners[key_of(body.address)] = _grace(body, drain_timeout)
            case BackendRemove() as body:
                backends[body.id, body.backend_id] = 0 if body.now else _grace(body, drain_timeout)
            case ClusterRemove() as body:
                clusters[body.id] = _grace(body, drain_timeout)
    return Drains(listeners=listeners, backends=backends, clusters=clusters)


def _grace(body: _Removal, drain_timeout: float) -> float | None:
    if not body.drain:
        return body.deadline
    return grace_of(drain_timeout if body.drain_timeout is None else body.drain_timeout)


def _logging(draft: Draft, body: LoggingBody) -> None:
    """Whether the text is one of log directives is for those to say who know the log."""
    draft.settings = replace(draft.settings, log_level=body.filter)


def _limit_connections(draft: Draft, body: ConnectionLimitSet) -> None:
    draft.settings = replace(draft.settings, max_connections_per_ip=body.limit)


def _lift_limit(draft: Draft, _body: ConnectionLimitRemove) -> None:
    draft.settings = replace(draft.settings, max_connections_per_ip=0)


_CARRIED_OUT: Mapping[str, Callable[[Draft, Any], None]] = {
    **change_certificates.CHANGES,
    **change_clusters.CHANGES,
    **change_frontends.CHANGES,
    **change_listeners.CHANGES,
    "connection-limit set": _limit_connections,
    "connection-limit remove": _lift_limit,
    "logging": _logging,
}
