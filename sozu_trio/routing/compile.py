"""The Table of a State, made from the Table of the State before: only what a change touches is made anew.

A full scan of the frontends finds what leads to a cluster that changed, and their order; all else goes with the size
of the change. It is done in slices (`slices.py`), between which the old Table serves.

Records may dangle: a frontend may lead to a cluster, or stand at a listener, that is not declared or does not speak as
it does (`crosswise.py`), and comes alive when there is one.
"""

from collections.abc import Iterator, Mapping
from typing import TypeVar

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import TcpFrontend
from sozu_trio.config.listeners import HttpListener, HttpsListener, Listener, TcpListener
from sozu_trio.routing.amended import LOOK_UNITS, Change, find_amended
from sozu_trio.routing.client_fields import client_fields
from sozu_trio.routing.decisions import NOT_FOUND, Decision, Outcome, entry_of
from sozu_trio.routing.delta import Delta, diff
from sozu_trio.routing.http_routes import NO_ROUTES, HttpRoutes, compile_routes
from sozu_trio.routing.resolvers import compile_resolvers
from sozu_trio.routing.slices import Pace, Sliced, batches, finish
from sozu_trio.routing.state import EMPTY, State
from sozu_trio.routing.table import NO_TABLE, ClusterEntry, Table

T = TypeVar("T")

CLUSTER_UNITS = 3
TCP_UNITS = 3


def compile_table(state: State, generation: int) -> Table:
    """The Table of `state`, in one go, as tests and benchmarks want it; a worker has `recompile` in slices. Raises
    ValueError for a host or path that cannot be read.
    """
    return finish(recompile(NO_TABLE, state, diff(EMPTY, state), generation))


def recompile(table: Table, state: State, delta: Delta, generation: int) -> Sliced[Table]:
    """The Table of `state`. `table` is that of the State before `delta`; all of it that still holds is used again.

    Raises ValueError for a host or path that cannot be read.
    """
    pace = Pace()
    clusters = dict(table.clusters)
    changed = yield from _amend_clusters(clusters, state, delta, pace)
    change = Change(state, delta, clusters, changed)
    http = yield from _compile_http(table, change, pace)
    tcp = yield from _compile_tcp(table.tcp, change, pace)
    certificates = yield from compile_resolvers(table.certificates, state, delta, pace)
    return Table(
        generation, state.listeners, clusters, http, tcp, certificates, client_fields(state.listeners.values())
    )


def _amend_clusters(clusters: dict[str, ClusterEntry], state: State, delta: Delta, pace: Pace) -> Sliced[set[str]]:
    """Make `clusters` those of `state`; returns the ids of those that are new, other, or gone."""
    looked_at: set[str] = set()
    changed = set()
    for cluster_id in _cluster_ids(delta):
        if cluster_id not in looked_at:
            looked_at.add(cluster_id)
            if _amend_cluster(clusters, state, cluster_id):
                changed.add(cluster_id)
        if pace.spend(CLUSTER_UNITS):
            yield
    return changed


def _amend_cluster(clusters: dict[str, ClusterEntry], state: State, cluster_id: str) -> bool:
    """Whether it is new, other or gone."""
    entry = _entry(state, cluster_id)
    if entry == clusters.get(cluster_id):
        return False
    if entry is None:
        del clusters[cluster_id]
    else:
        clusters[cluster_id] = entry
    return True


def _cluster_ids(delta: Delta) -> Iterator[str]:
    yield from delta.gone_clusters
    yield from (cluster.cluster_id for cluster in delta.clusters)
    yield from (cluster_id for cluster_id, _ in delta.gone_backends)
    yield from (backend.cluster_id for backend in delta.backends)


def _entry(state: State, cluster_id: str) -> ClusterEntry | None:
    cluster = state.clusters.get(cluster_id)
    if cluster is None:
        return None
    return ClusterEntry(cluster, tuple(state.backends.get(cluster_id, {}).values()))


def _compile_http(table: Table, change: Change, pace: Pace) -> Sliced[Mapping[Address, HttpRoutes]]:
    """Where a listener of https takes the place of one of http, or the other way round, all leads elsewhere."""
    same = {
        address: one for address, one in table.http.items() if _secure(change.state, address) == _secure(table, address)
    }
    routes, new = _follow_listeners(same, change, HttpListener)
    amended = yield from find_amended(routes, new, change, pace)
    for address, what in amended.items():
        routes[address] = yield from compile_routes(
            routes.get(address, NO_ROUTES), what, change.clusters, pace, secure=_secure(change.state, address)
        )
    return routes


def _secure(has: State | Table, address: Address) -> bool:
    return isinstance(has.listeners.get(("tcp", address)), HttpsListener)


def _follow_listeners(
    before: Mapping[Address, T], change: Change, kind: type[Listener]
) -> tuple[dict[Address, T], set[Address]]:
    """`before` less the addresses that have no such listener any more, and those that have one now."""
    if not change.delta.gone_listeners and not change.delta.listeners:
        return dict(before), set()
    addresses = {listener.address for listener in change.state.listeners.values() if isinstance(listener, kind)}
    return {address: one for address, one in before.items() if address in addresses}, addresses - before.keys()


def _compile_tcp(before: Mapping[Address, Decision], change: Change, pace: Pace) -> Sliced[Mapping[Address, Decision]]:
    decisions, new = _follow_listeners(before, change, TcpListener)
    touched = yield from _touched_tcp(change, pace)
    for address in (touched & decisions.keys()) | new:
        decisions[address] = _decide_tcp(change.state.tcp_frontends.get(address), change.clusters)
        if pace.spend(TCP_UNITS):
            yield
    return decisions


def _touched_tcp(change: Change, pace: Pace) -> Sliced[set[Address]]:
    delta = change.delta
    touched = {*delta.gone_tcp_frontends, *(frontend.address for frontend in delta.tcp_frontends)}
    if change.clusters_changed:
        for batch in batches(change.state.tcp_frontends.items()):
            touched.update([address for address, each in batch if each.cluster_id in change.clusters_changed])
            if pace.spend(LOOK_UNITS):
                yield
    return touched


def _decide_tcp(frontend: TcpFrontend | None, clusters: Mapping[str, ClusterEntry]) -> Decision:
    if frontend is None:
        return NOT_FOUND
    return Decision(Outcome.FORWARD, entry_of(frontend.cluster_id, clusters, "tcp"), None, frontend.tags)
