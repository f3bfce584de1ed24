"""Verbs that list what there is: clusters, frontends, backends, listeners."""

from collections.abc import Iterator, Mapping
from typing import Any

from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend, PathType, TcpFrontend
from sozu_trio.config.listeners import HttpsListener, Listener, protocol_of
from sozu_trio.config.patterns import canonical_host, compile_path_regex, parse_host
from sozu_trio.control.answering import Answer
from sozu_trio.control.records import document_of, origin_of, without_pem
from sozu_trio.errors import OperatorError
from sozu_trio.main.bodies import (
    BackendListBody,
    ClusterListBody,
    FrontendListBody,
    ListenerListBody,
)
from sozu_trio.main.parts import Call, Handlers, Parts
from sozu_trio.routing.hosts import host_matches
from sozu_trio.routing.state import State
from sozu_trio.telemetry.plural import count


async def _clusters(parts: Parts, call: Call) -> Answer:
    body = call.read(ClusterListBody)
    state = parts.transactions.state
    chosen = list(_chosen_clusters(state, body))
    if body.id is not None and not chosen:
        raise OperatorError(f"id: there is no cluster {body.id!r}")
    rules = _frontends_by_cluster(state)
    documents = [
        {
            **cluster_document(state, cluster),
            "frontends": rules.get(cluster.cluster_id, []),
            "backends": [_backend_document(state, each) for each in _backends_of(state, cluster.cluster_id)],
        }
        for cluster in chosen
    ]
    return Answer(message=count(len(documents), "cluster"), content={"clusters": documents})


def _chosen_clusters(state: State, body: ClusterListBody) -> Iterator[Cluster]:
    wanted = None
    if body.domain is not None:
        wanted = {rule.cluster_id for rule in _rules_of_domain(state, body.domain)}
    for cluster in state.clusters.values():
        if body.id in (None, cluster.cluster_id) and (wanted is None or cluster.cluster_id in wanted):
            yield cluster


def _rules_of_domain(state: State, domain: str) -> Iterator[HttpFrontend]:
    """Rules whose host pattern is that of `domain` or matches it; after a `/`, those whose path begins so or leads
    there.
    """
    host, slash, rest = domain.partition("/")
    spelled = _spelled(host)
    for key, rule in state.http_frontends.items():
        of_host = key.hostname.encode() == spelled or host_matches(parse_host(rule.hostname), spelled)
        if of_host and (not slash or _is_of_path(rule, slash + rest)):
            yield rule


def _is_of_path(rule: HttpFrontend, path: str) -> bool:
    """Whether the rule takes `path`, or one that begins with it."""
    match rule.path_type:
        case PathType.PREFIX:
            return path.startswith(rule.path) or rule.path.startswith(path)
        case PathType.EQUALS:
            return rule.path.startswith(path)
        case PathType.REGEX:
            return rule.path.startswith(path) or compile_path_regex(rule.path).fullmatch(path.encode()) is not None


def _spelled(host: str) -> bytes:
    try:
        return canonical_host(host).encode()
    except ValueError:
        return host.lower().encode("utf-8", "backslashreplace")


def _frontends_by_cluster(state: State) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for rule in state.http_frontends.values():
        if rule.cluster_id is not None:
            found.setdefault(rule.cluster_id, []).append(rule_document(state, rule))
    for frontend in state.tcp_frontends.values():
        found.setdefault(frontend.cluster_id, []).append(_tcp_document(state, frontend))
    return found


def _backends_of(state: State, cluster_id: str) -> list[Backend]:
    return list(state.backends.get(cluster_id, {}).values())


def cluster_document(state: State, cluster: Cluster) -> dict[str, Any]:
    return {**without_pem(document_of(cluster)), "origin": origin_of(cluster, state)}


def rule_document(state: State, rule: HttpFrontend) -> dict[str, Any]:
    """A rule as it is listed: `cluster` is null where it denies."""
    members = document_of(rule)
    members["cluster"] = members.pop("cluster_id", None)
    listener = state.listeners.get(("tcp", rule.address))
    protocol = "https" if isinstance(listener, HttpsListener) else "http"
    return {"protocol": protocol, **members, "origin": origin_of(rule, state)}


def _tcp_document(state: State, frontend: TcpFrontend) -> dict[str, Any]:
    members = document_of(frontend)
    members["cluster"] = members.pop("cluster_id")
    return {"protocol": "tcp", **members, "origin": origin_of(frontend, state)}


def _backend_document(state: State, backend: Backend) -> dict[str, Any]:
    members = document_of(backend)
    return {"cluster": members.pop("cluster_id"), **members, "origin": origin_of(backend, state)}


async def _frontends(parts: Parts, call: Call) -> Answer:
    body = call.read(FrontendListBody)
    state = parts.transactions.state
    every = not (body.http or body.https or body.tcp)
    documents = []
    if every or body.http or body.https:
        rules = state.http_frontends.values() if body.domain is None else _rules_of_domain(state, body.domain)
        of_rules = [rule_document(state, rule) for rule in rules]
        documents += [each for each in of_rules if every or getattr(body, each["protocol"])]
    if (every or body.tcp) and body.domain is None:
        documents += [_tcp_document(state, each) for each in state.tcp_frontends.values()]
    return Answer(message=count(len(documents), "frontend"), content={"frontends": documents})


async def _backends(parts: Parts, call: Call) -> Answer:
    body = call.read(BackendListBody)
    state = parts.transactions.state
    if body.id is not None and body.id not in state.clusters and body.id not in state.backends:
        raise OperatorError(f"id: there is no cluster {body.id!r}")
    live = await live_backends(parts, body.id)
    members = state.backends.values() if body.id is None else [state.backends.get(body.id, {})]
    documents = [
        {
            **_backend_document(state, each),
            "workers": live.get((each.cluster_id, each.backend_id, str(each.address)), []),
        }
        for of_cluster in members
        for each in of_cluster.values()
    ]
    return Answer(message=count(len(documents), "backend"), content={"backends": documents})


async def live_backends(parts: Parts, cluster_id: str | None) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """What each worker has met of backends, by (cluster, backend id, address)."""
    query = {} if cluster_id is None else {"cluster": cluster_id}
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for who, backends in (await parts.supervisor.look("backends", query)).items():
        for each in backends:
            key = each.pop("cluster"), each.pop("backend_id"), each.pop("address")
            found.setdefault(key, []).append({"worker": who.worker_id, **each})
    return found


async def _listeners(parts: Parts, call: Call) -> Answer:
    body = call.read(ListenerListBody)
    wanted = {name for name in ("http", "https", "tcp") if getattr(body, name)}
    sessions = await _sessions_by_listener(parts)
    state = parts.transactions.state
    documents = [
        listener_document(state, each, sessions)
        for each in state.listeners.values()
        if not wanted or protocol_of(each) in wanted
    ]
    return Answer(message=count(len(documents), "listener"), content={"listeners": documents})


async def _sessions_by_listener(parts: Parts) -> dict[str, int]:
    counted: dict[str, int] = {}
    for looked in (await parts.supervisor.look("counters")).values():
        for address, sessions in looked["listeners"].items():
            counted[address] = counted.get(address, 0) + sessions
    return counted


def listener_document(state: State, listener: Listener, sessions: Mapping[str, int]) -> dict[str, Any]:
    """A listener as it is listed, with how many client connections it has now."""
    return {
        **without_pem(document_of(listener)),
        "origin": origin_of(listener, state),
        "sessions": sessions.get(str(listener.address), 0),
    }


HANDLERS: Handlers = {
    "cluster list": _clusters,
    "frontend list": _frontends,
    "backend list": _backends,
    "listener list": _listeners,
}
