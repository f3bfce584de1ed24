"""What a look-up answers. Every Decision is made when the Table is, so that finding one allocates nothing.

How an answer is found is told by `http_routes.py`; what becomes of the request is the proxy's business.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend
from sozu_trio.routing.redirects import Redirect


@dataclass(frozen=True, slots=True)
class ClusterEntry:
    """A cluster with its backends, in the order they were declared; there may be none."""

    cluster: Cluster
    backends: tuple[Backend, ...]


class Outcome(enum.Enum):
    FORWARD = "forward"
    DENY = "deny"
    REDIRECT = "redirect"
    NOT_FOUND = "not found"
    MISDIRECTED = "misdirected"
    """Over TLS, for a host that the connection is not for."""


@dataclass(frozen=True, slots=True)
class Decision:
    """`cluster` is there exactly when the outcome is FORWARD, `redirect` exactly when it is REDIRECT; `frontend` is the
    HTTP frontend that matched, if any.
    """

    outcome: Outcome
    cluster: ClusterEntry | None
    frontend: HttpFrontend | None
    tags: Mapping[str, str]
    redirect: Redirect | None = None


Rule = tuple[HttpFrontend, Decision]
"""An HTTP frontend and where it leads."""

NOT_FOUND: Final = Decision(Outcome.NOT_FOUND, None, None, MappingProxyType({}))
MISDIRECTED: Final = Decision(Outcome.MISDIRECTED, None, None, MappingProxyType({}))


def entry_of(cluster_id: str, clusters: Mapping[str, ClusterEntry], speaks: str) -> ClusterEntry:
    """The entry of a cluster; one without backends while there is none of `cluster_id` that can speak `speaks`."""
    entry = clusters.get(cluster_id)
    if entry is None or entry.cluster.protocol not in (None, speaks):
        return ClusterEntry(Cluster(cluster_id=cluster_id), ())
    return entry


def decide(
    frontend: HttpFrontend, clusters: Mapping[str, ClusterEntry], before: Decision | None, *, secure: bool = False
) -> Decision:
    """Where `frontend` leads; `before`, a Decision of earlier, where it is of the same object and still holds.

    `secure`: its listener is one of https.
    """
    if before is not None and before.frontend is frontend and _holds(before, clusters, secure=secure):
        return before
    if frontend.cluster_id is None:
        return Decision(Outcome.DENY, None, frontend, frontend.tags)
    entry = entry_of(frontend.cluster_id, clusters, "http")
    if (redirect := _redirect(entry, secure=secure)) is not None:
        return Decision(Outcome.REDIRECT, None, frontend, frontend.tags, redirect)
    return Decision(Outcome.FORWARD, entry, frontend, frontend.tags)


def _redirect(entry: ClusterEntry, *, secure: bool) -> Redirect | None:
    if secure or not entry.cluster.https_redirect:
        return None
    return Redirect(entry.cluster.https_redirect_port)


def _holds(decision: Decision, clusters: Mapping[str, ClusterEntry], *, secure: bool) -> bool:
    cluster_id = None if decision.frontend is None else decision.frontend.cluster_id
    if cluster_id is None:
        return True
    if _redirect(entry_of(cluster_id, clusters, "http"), secure=secure) != decision.redirect:
        return False
    if decision.cluster is None:
        return True
    cluster_id = decision.cluster.cluster.cluster_id
    entry = entry_of(cluster_id, clusters, "http")
    if entry is clusters.get(cluster_id):
        return decision.cluster is entry
    # Where there is none that fits, the entry is a new one each time.
    return decision.cluster == entry
