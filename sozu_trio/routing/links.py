"""Whether what changes have put together fits: frontends and backends lead to what exists and speaks as they do.

It is judged when all changes of a transaction are made, so that their order does not matter. What dangles since its
cluster or listener was removed is nobody's fault: it waits for its return, which may then not be as something else.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from sozu_trio.config.addresses import Address
from sozu_trio.config.bodies import (
    BackendAdd,
    ClusterBody,
    HttpFrontendAdd,
    HttpListenerBody,
    TcpFrontendAdd,
    TcpListenerBody,
)
from sozu_trio.config.clusters import HttpFrontend, TcpFrontend
from sozu_trio.config.https_bodies import HttpsFrontendAdd
from sozu_trio.config.listeners import carried_by, protocol_of
from sozu_trio.config.report import an
from sozu_trio.config.values import show
from sozu_trio.routing.change_certificates import CertificateAddition
from sozu_trio.routing.change_clusters import no_cluster
from sozu_trio.routing.change_frontends import rule_of
from sozu_trio.routing.change_listeners import key_of, no_listener
from sozu_trio.routing.draft import Draft
from sozu_trio.routing.refusal import Refusal
from sozu_trio.routing.spoken import spoken_frontend


def misfits(draft: Draft, bodies: Mapping[int, Any]) -> Iterator[tuple[int, Refusal]]:
    """The number of each change that put something where it does not fit, and why. `bodies`: those made, by number."""
    for number, body in bodies.items():
        yield from ((number, refusal) for refusal in _misfits_of(draft, body))
    yield from _misfits_of_old(draft, bodies)


def _misfits_of(draft: Draft, body: Any) -> Iterator[Refusal]:
    """Of one change, if what it put is still there."""
    match body:
        case BackendAdd():
            there = body.backend_id is None or body.backend_id in draft.backends(body.id)
            if there and body.id not in draft.clusters:
                yield no_cluster(draft, "id", body.id)
        case HttpFrontendAdd() if rule_of(body) in draft.http_frontends:
            yield from _misfit_of_listener(draft, body.address, "https" if _is_https(body) else "http")
            if body.cluster is not None:
                yield from _misfit_of_cluster(draft, "cluster", body.cluster, "http")
        case TcpFrontendAdd() if body.address in draft.tcp_frontends:
            yield from _misfit_of_listener(draft, body.address, "tcp")
            yield from _misfit_of_cluster(draft, "id", body.id, "tcp")
        case CertificateAddition() if (body.address, body.certificate.fingerprint) in draft.certificates:
            yield from _misfit_of_listener(draft, body.address, "https")


def _is_https(body: HttpFrontendAdd) -> bool:
    return isinstance(body, HttpsFrontendAdd)


def _misfit_of_listener(draft: Draft, address: Address, speaks: str) -> Iterator[Refusal]:
    listener = draft.listeners.get(key_of(address))
    if listener is None:
        yield no_listener(draft, address)
    elif protocol_of(listener) != speaks:
        found = f"found {show(address)}, {an(protocol_of(listener))} listener"
        yield Refusal("address", f"{found}; want one that speaks {speaks}")


def _misfit_of_cluster(draft: Draft, key: str, cluster_id: str, speaks: str) -> Iterator[Refusal]:
    cluster = draft.clusters.get(cluster_id)
    if cluster is None:
        yield no_cluster(draft, key, cluster_id)
    elif cluster.protocol not in (None, speaks):
        yield Refusal(
            key, f"found {show(cluster_id)}, {an(str(cluster.protocol))} cluster; want one that speaks {speaks}"
        )


def _misfits_of_old(draft: Draft, bodies: Mapping[int, Any]) -> Iterator[tuple[int, Refusal]]:
    """Of clusters and listeners that now speak otherwise than frontends from before; one frontend each is named."""
    clusters = _clusters_that_speak_anew(draft, bodies)
    listeners = _listeners_that_speak_anew(draft, bodies)
    for speaks, frontend in _frontends_of(draft, clusters, listeners):
        number, protocol = clusters.get(frontend.cluster_id, (0, speaks))
        if protocol != speaks:
            del clusters[frontend.cluster_id]
            want = f"want {show(speaks)}, or its frontends removed"
            leads = f"the {spoken_frontend(frontend)} leads to it"
            yield number, Refusal("protocol", f"found {show(protocol)}; {leads}; {want}")
        number, protocol = listeners.get(frontend.address, (0, speaks))
        if protocol != speaks:
            del listeners[frontend.address]
            want = f"want {an(speaks)} listener there, or its frontends removed"
            there = f"the {spoken_frontend(frontend)} is there"
            yield number, Refusal("address", f"found {frontend.address}; {there}; {want}")


def _frontends_of(
    draft: Draft, clusters: Collection[str | None], listeners: Collection[Address]
) -> list[tuple[str, HttpFrontend | TcpFrontend]]:
    """Those from before that lead to one of `clusters` or are at one of `listeners`, with what they speak."""
    if not clusters and not listeners:
        return []
    kinds: Iterable[tuple[str, Iterable[HttpFrontend | TcpFrontend]]]
    kinds = (("http", draft.http_frontends.kept()), ("tcp", draft.tcp_frontends.kept()))
    return [
        (speaks, each)
        for speaks, frontends in kinds
        for each in frontends
        if each.cluster_id in clusters or (listeners and each.address in listeners)
    ]


def _clusters_that_speak_anew(draft: Draft, bodies: Mapping[int, Any]) -> dict[str | None, tuple[int, str]]:
    """Id → number of the change and protocol."""
    clusters: dict[str | None, tuple[int, str]] = {}
    for number, body in bodies.items():
        if isinstance(body, ClusterBody) and (cluster := draft.clusters.get(body.id)) is not None:
            before = draft.clusters.before.get(body.id)
            if cluster.protocol is not None and (before is None or before.protocol != cluster.protocol):
                clusters[body.id] = number, cluster.protocol
    return clusters


def _listeners_that_speak_anew(draft: Draft, bodies: Mapping[int, Any]) -> dict[Address, tuple[int, str]]:
    """Address → number of the change, and what frontends there must speak."""
    listeners: dict[Address, tuple[int, str]] = {}
    for number, body in bodies.items():
        if isinstance(body, HttpListenerBody | TcpListenerBody):
            listener = draft.listeners.get(key_of(body.address))
            before = draft.listeners.before.get(key_of(body.address))
            if listener is not None and (before is None or carried_by(before) != carried_by(listener)):
                listeners[body.address] = number, carried_by(listener)
    return listeners
