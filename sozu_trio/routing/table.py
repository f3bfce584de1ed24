"""A State compiled for look-up. A worker holds one Table, every request takes its reference at its start and keeps it.

Everything a request may need of the configuration is reached from here without another look-up by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import HttpFrontend
from sozu_trio.config.listeners import HttpListener, Listener, TcpListener
from sozu_trio.routing.decisions import NOT_FOUND, ClusterEntry, Decision, Outcome, Rule
from sozu_trio.routing.http_routes import HttpRoutes
from sozu_trio.routing.state import ListenerKey, State

__all__ = ["ClusterEntry", "Decision", "HttpRoutes", "Outcome", "Table", "compile_table"]


@dataclass(frozen=True, slots=True)
class Table:
    """`http` has routes for every http listener, `tcp` a decision for every tcp listener, if only NOT_FOUND."""

    generation: int
    listeners: Mapping[ListenerKey, Listener]
    clusters: Mapping[str, ClusterEntry]
    http: Mapping[Address, HttpRoutes]
    tcp: Mapping[Address, Decision]


def compile_table(state: State, generation: int) -> Table:
    """Raises ValueError for a frontend whose cluster is unknown or whose host or path cannot be read.

    Backends of a cluster that is not declared are left out.
    """
    clusters = {
        cluster_id: ClusterEntry(cluster, tuple(state.backends.get(cluster_id, {}).values()))
        for cluster_id, cluster in state.clusters.items()
    }
    return Table(generation, state.listeners, clusters, _compile_http(state, clusters), _compile_tcp(state, clusters))


def _compile_http(state: State, clusters: Mapping[str, ClusterEntry]) -> dict[Address, HttpRoutes]:
    rules: dict[Address, list[Rule]] = {
        listener.address: [] for listener in state.listeners.values() if isinstance(listener, HttpListener)
    }
    for frontend in state.http_frontends.values():
        rules.setdefault(frontend.address, []).append((frontend, _decide(frontend, clusters)))
    return {address: HttpRoutes(of_address) for address, of_address in rules.items()}


def _compile_tcp(state: State, clusters: Mapping[str, ClusterEntry]) -> dict[Address, Decision]:
    decisions = {
        listener.address: NOT_FOUND for listener in state.listeners.values() if isinstance(listener, TcpListener)
    }
    for address, frontend in state.tcp_frontends.items():
        entry = _entry(clusters, frontend.cluster_id, f"tcp frontend {address}")
        decisions[address] = Decision(Outcome.FORWARD, entry, None, frontend.tags)
    return decisions


def _decide(frontend: HttpFrontend, clusters: Mapping[str, ClusterEntry]) -> Decision:
    if frontend.cluster_id is None:
        return Decision(Outcome.DENY, None, frontend, frontend.tags)
    entry = _entry(clusters, frontend.cluster_id, f"http frontend {frontend.address} {frontend.hostname}")
    return Decision(Outcome.FORWARD, entry, frontend, frontend.tags)


def _entry(clusters: Mapping[str, ClusterEntry], cluster_id: str, where: str) -> ClusterEntry:
    entry = clusters.get(cluster_id)
    if entry is None:
        raise ValueError(f"{where}: there is no cluster {cluster_id!r}")
    return entry
