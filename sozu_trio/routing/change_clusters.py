"""Clusters and their backends: adding replaces what is there, updating keeps what is not said."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from typing import Any

from sozu_trio.config.backend_tls import OPTIONS, BackendTls
from sozu_trio.config.bodies import BackendAdd, BackendRemove, BackendUpdate, ClusterBody, ClusterRemove, given
from sozu_trio.config.clusters import Backend, Cluster, LoadBalancing
from sozu_trio.config.values import show
from sozu_trio.routing.draft import Draft, Records
from sozu_trio.routing.refusal import Refusal, near_miss

_CLUSTER = (
    *("protocol", "load_metric", "send_proxy", "max_idle_connections", "idle_timeout"),
    *("max_requests", "max_requests_burst"),
    *("max_connections", "max_queue", "queue_timeout", "max_connections_per_ip", "retry_after"),
    *("https_redirect", "https_redirect_port"),
)
_BACKEND = ("address", "weight", "backup", "max_connections")


@dataclass(frozen=True, slots=True, kw_only=True)
class SecuredCluster(ClusterBody):
    """Of `cluster add` and `cluster update` that say something of TLS, with what was read."""

    backend_tls: BackendTls | None
    """None: they say that there is none."""


def speaks_of_tls(body: ClusterBody) -> bool:
    return body.tls is not None or any(getattr(body, name) is not None for name in OPTIONS)


def no_cluster(draft: Draft, key: str, cluster_id: str) -> Refusal:
    """`key` names a cluster that does not exist."""
    what = f"found {show(cluster_id)}; there is no such cluster"
    return Refusal(key, what, ("cluster", cluster_id), partial(near_miss, cluster_id, draft.clusters))


def add_cluster(draft: Draft, body: ClusterBody) -> None:
    """Frontends and backends that name it already come with it."""
    draft.clusters.put(body.id, _patched_cluster(Cluster(cluster_id=body.id), body))


def update_cluster(draft: Draft, body: ClusterBody) -> None:
    """Raises Refusal."""
    draft.clusters.put(body.id, _patched_cluster(_cluster(draft, body.id), body))


def remove_cluster(draft: Draft, body: ClusterRemove) -> None:
    """What leads to it and what serves it stays and waits for its return. Raises Refusal."""
    _cluster(draft, body.id)
    draft.clusters.take(body.id)


def add_backend(draft: Draft, body: BackendAdd) -> None:
    """Whether there is such a cluster is judged when all changes of the transaction are made."""
    backend_id = id_of(draft.backends(body.id), body)
    backend = Backend(cluster_id=body.id, backend_id=backend_id, address=body.address)
    draft.backends(body.id).put(backend_id, replace(backend, **given(body, _BACKEND)))


def update_backend(draft: Draft, body: BackendUpdate) -> None:
    """Raises Refusal."""
    backend = _backend(draft, body.id, body.backend_id)
    draft.backends(body.id).put(body.backend_id, replace(backend, **given(body, _BACKEND)))


def remove_backend(draft: Draft, body: BackendRemove) -> None:
    """Raises Refusal."""
    backend = _backend(draft, body.id, body.backend_id)
    if body.address not in (None, backend.address):
        raise Refusal("address", f"found {show(body.address)}; backend {show(body.backend_id)} is at {backend.address}")
    draft.backends(body.id).take(body.backend_id)


def _cluster(draft: Draft, cluster_id: str) -> Cluster:
    cluster = draft.clusters.get(cluster_id)
    if cluster is None:
        raise no_cluster(draft, "id", cluster_id)
    return cluster


def _patched_cluster(cluster: Cluster, body: ClusterBody) -> Cluster:
    cluster = replace(cluster, **given(body, _CLUSTER))
    if body.load_balancing_policy is not None:
        cluster = replace(cluster, load_balancing=LoadBalancing(body.load_balancing_policy))
    if isinstance(body, SecuredCluster):
        cluster = replace(cluster, tls=body.backend_tls)
    else:
        # What goes to backends in plain text must not do so because somebody forgot to read what was said.
        assert not speaks_of_tls(body)
    if cluster.protocol == "http" and cluster.send_proxy:
        cluster = replace(cluster, send_proxy=False)  # it has no effect there, as in the file
    return cluster


def _backend(draft: Draft, cluster_id: str, backend_id: str) -> Backend:
    backends = draft.backends(cluster_id)
    backend = backends.get(backend_id)
    if backend is not None:
        return backend
    what = f"found {show(backend_id)}; there is no such backend of cluster {show(cluster_id)}"
    lacking = ("backend", (cluster_id, backend_id))
    raise Refusal("backend-id", what, lacking, partial(near_miss, backend_id, backends))


def id_of(backends: Records[str, Backend], body: BackendAdd) -> str:
    """The id that a backend gets among `backends`, those of its cluster. Where none is asked for, it is that of the one
    at the same address, so that adding it again changes nothing; where there is none, or several, a new one.
    """
    if body.backend_id is not None:
        return body.backend_id
    there = [each for each in backends if (backend := backends.get(each)) and backend.address == body.address]
    if len(there) == 1:
        return there[0]
    names = (f"{body.id}-{number}-{body.address}" for number in count())
    return next(name for name in names if name not in backends)


CHANGES: Mapping[str, Callable[[Draft, Any], None]] = {
    "cluster add": add_cluster,
    "cluster update": update_cluster,
    "cluster remove": remove_cluster,
    "backend add": add_backend,
    "backend update": update_backend,
    "backend remove": remove_backend,
}
