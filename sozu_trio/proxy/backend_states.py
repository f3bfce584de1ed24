"""Every backend this worker knows, over all Tables: one state for each (cluster, backend id, address).

A backend that is removed stays known until its last connection ends, so that what it still serves can be cut. One that
comes back before that is the same again.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster
from sozu_trio.control.moves import Failing
from sozu_trio.nursery.tally import Tally
from sozu_trio.proxy.backends import Availability, BackendState, ClusterState, Shared, Tell, tell_nobody
from sozu_trio.proxy.queueing import Gauge, Queue
from sozu_trio.proxy.swaps import Swaps
from sozu_trio.routing.backoff import BackOff
from sozu_trio.routing.balancing import Balancer, make_balancer
from sozu_trio.routing.slices import Sliced, batches
from sozu_trio.routing.table import ClusterEntry
from sozu_trio.tls.client_contexts import ClientContexts, ClientTls

BackendKey = tuple[str, str, Address]

SWEPT = 200
"""Connections looked at in one go: about a millisecond."""
CUTS_REMEMBERED = 1000
"""Backends of which it is known how many connections to them were cut, those cut last."""
CLUSTER_UNITS, BACKEND_UNITS, CLOSE_UNITS = 3, 3, 20
"""Microseconds it takes to follow a Table: each cluster, each of its backends, each idle connection that is closed."""


class BackendStates:
    """The clusters of the Table in force, their backends, and those that still serve after their removal."""

    def __init__(self, random: Callable[[], float], tally: Tally, tell: Tell = tell_nobody) -> None:
        self.clusters: dict[str, ClusterState] = {}
        """As far as they have followed; `find` is for those who want to know."""
        self._swaps = Swaps(self._follow)
        self.contexts = ClientContexts()
        """For TLS to all of them."""
        self._random = random
        self._tally = tally
        self._waiting = Gauge(tally, b"waiting")
        """All who wait for a connection."""
        self._limited: set[str] = set()
        self._tell = tell
        self._shared = Shared()
        self._removed: dict[BackendKey, dict[BackendState, None]] = {}
        """Those that still serve. There may be several of one name: a request that began with an older Table may
        connect to a backend that had nothing left, and has come anew since.
        """
        self._cuts: dict[BackendKey, int] = {}
        """How many connections were cut, the latest last."""

    def swap(self, entries: Mapping[str, ClusterEntry]) -> None:
        """Follow a new Table: an entry that is the same object is passed over, what stays in the others keeps its
        state, what is gone closes its idle connections. Each cluster does so when it is asked for, the rest in
        `follow`.
        """
        self._swaps.swap(entries)

    def follow(self) -> Sliced[int]:
        """Follow all swaps, in slices; returns how many clusters had to."""
        return self._swaps.settle_all()

    def find(self, cluster_id: str) -> ClusterState | None:
        """A cluster of the Table in force."""
        if self._swaps.pending:
            self._swaps.settle(cluster_id)
        return self.clusters.get(cluster_id)

    def _follow(self, cluster_id: str, entry: ClusterEntry | None) -> int:
        before = self.clusters.get(cluster_id)
        known = {} if before is None else {state.backend.backend_id: state for state in before}
        closed = 0
        queue = None if before is None else before.queue
        if entry is None:
            self.clusters.pop(cluster_id, None)
        else:
            cluster = self.clusters[cluster_id] = self._cluster(entry, before, known)
            closed = sum(state.speak(cluster.tls) for state in cluster)
            for state in cluster:
                state.limit(cluster.queue, self._gauge(state.backend))
        self._settle_queue(cluster_id, queue)
        count = len(known) if entry is None else len(known) + len(entry.backends)
        return CLUSTER_UNITS + BACKEND_UNITS * count + CLOSE_UNITS * (closed + self._remove(known.values()))

    def _cluster(
        self, entry: ClusterEntry, before: ClusterState | None, known: dict[str, BackendState]
    ) -> ClusterState:
        """What becomes of `before`; states that stay are taken out of `known`."""
        members = [self._member(entry.cluster, backend, known) for backend in entry.backends]
        return ClusterState(
            entry.cluster,
            [member for member in members if not member.backend.backup],
            [member for member in members if member.backend.backup],
            self._balancer(entry.cluster, before),
            Availability(self._tell) if before is None else before.availability,
            self._tls(entry.cluster, before),
            self._queue(entry, before),
        )

    def _queue(self, entry: ClusterEntry, before: ClusterState | None) -> Queue | None:
        """The same as before while there is a limit."""
        if not entry.cluster.max_connections and not any(backend.max_connections for backend in entry.backends):
            return None
        if before is not None and before.queue is not None:
            return before.queue
        return Queue(self._tally, entry.cluster.cluster_id, self._waiting, self._random)

    def _settle_queue(self, cluster_id: str, before: Queue | None) -> None:
        """Who waits, in the queue of `before`, goes by what is configured now."""
        cluster = self.clusters.get(cluster_id)
        queue = None if cluster is None else cluster.queue
        for each in (before, queue):
            if each is not None:
                each.cluster = cluster
                each.wake()
        if queue is None:
            self._limited.discard(cluster_id)
        else:
            self._limited.add(cluster_id)

    def _gauge(self, backend: Backend) -> Gauge | None:
        if not backend.max_connections:
            return None
        return Gauge(self._tally, b"backend", *(str(part).encode() for part in key_of(backend)))

    def _tls(self, cluster: Cluster, before: ClusterState | None) -> ClientTls | None:
        """The same as before where the cluster says the same."""
        if cluster.tls is None:
            return None
        known = None if before is None else before.tls
        return known if known is not None and known.settings == cluster.tls else ClientTls(cluster.tls, self.contexts)

    def _member(self, cluster: Cluster, backend: Backend, known: dict[str, BackendState]) -> BackendState:
        """The state of `backend`, which is taken out of `known`."""
        state = known.get(backend.backend_id)
        if state is None or (state.backend is not backend and state.backend.address != backend.address):
            state = self._come(cluster, backend)
        else:
            del known[backend.backend_id]
        state.backend, state.weight = backend, backend.weight
        state.metric, state.idle_timeout = cluster.load_metric, cluster.idle_timeout
        return state

    def _come(self, cluster: Cluster, backend: Backend) -> BackendState:
        key = key_of(backend)
        removed = self._removed.get(key)
        if not removed:
            metric, address = cluster.load_metric, str(backend.address)
            return BackendState(backend, metric, backend.weight, address, cluster.idle_timeout, self._shared)
        state, _ = removed.popitem()
        if not removed:
            del self._removed[key]
        state.leaving = None
        if state.is_cut:
            state.is_cut, state.back_off = False, BackOff()
        return state

    def _remove(self, states: Iterable[BackendState]) -> int:
        """Returns how many idle connections that closed."""
        closed = 0
        for state in states:
            closed += state.close_idle()
            state.leaving = self._leave
            self._leave(state)
        return closed

    def _leave(self, state: BackendState) -> None:
        """Connections to a removed backend have come or gone."""
        key = key_of(state.backend)
        removed = self._removed.setdefault(key, {})
        if state.connections:
            removed[state] = None
            return
        removed.pop(state, None)
        if not removed:
            del self._removed[key]
            self._tell("REMOVED_BACKEND_HAS_NO_CONNECTIONS", *key)

    def _balancer(self, cluster: Cluster, before: ClusterState | None) -> Balancer:
        if before is not None and before.cluster.load_balancing is cluster.load_balancing:
            return before.balancer
        return make_balancer(cluster.load_balancing, self._random)

    def cut(self, cluster_id: str, backend_id: str, address: Address) -> int:
        """Cut every connection in use to a backend, removed or not; returns how many. A removed one is not connected
        to again, by whomever.
        """
        key = cluster_id, backend_id, address
        count = sum(map(self._cut, self._find(key)))
        if count:
            self._cuts[key] = self._cuts.pop(key, 0) + count
            if len(self._cuts) > CUTS_REMEMBERED:
                del self._cuts[next(iter(self._cuts))]
        return count

    def left(self, removed: Collection[BackendKey]) -> dict[str, int]:
        """Who is left at these, as far as they are removed: {"sessions", "websocket", "tcp", "cut"}, as the looks at
        listeners that drain (`nursery/looks.py`).
        """
        for cluster_id in {cluster_id for cluster_id, _, _ in removed}:
            self.find(cluster_id)  # Who has just been removed may not have followed yet.
        states = {state for key in removed for state in self._removed.get(key, ())}
        kinds = Counter(connection.kind for connection in self._shared.open if connection.state in states)
        return {
            "sessions": sum(state.connections for state in states),
            "websocket": kinds["websocket"],
            "tcp": kinds["tcp"],
            "cut": sum(self._cuts.get(key, 0) for key in removed),
        }

    def _find(self, key: BackendKey) -> list[BackendState]:
        configured = self.configured(key)
        return [*([] if configured is None else [configured]), *self._removed.get(key, ())]

    def configured(self, key: BackendKey) -> BackendState | None:
        """The backend of `key` in the Table in force."""
        return next((state for state in self.find(key[0]) or () if key_of(state.backend) == key), None)

    def _cut(self, state: BackendState) -> int:
        if state.leaving is not None:
            state.is_cut = True
            state.back_off.bar()
        in_use = [each for each in self._shared.open if each.state is state and each not in state.idle]
        for connection in in_use:
            state.cut(connection)
        return len(in_use)

    def close_idle(self) -> int:
        """Close every idle connection, because descriptors are needed. Returns how many."""
        return sum(state.close_idle() for state in self._shared.pooled)

    @property
    def has_limits(self) -> bool:
        """Whether any cluster may have only so many connections."""
        return bool(self._limited)

    def yield_idle(self) -> None:
        """Close what is idle in clusters where somebody waits for a connection in another worker."""
        if self._waiting.total() > self._waiting.here:
            for queue in {state.queue: None for state in self._shared.pooled if state.queue is not None}:
                queue.yield_idle()

    def sweep(self, now: float) -> Iterator[None]:
        """Close what has been idle for longer than its cluster allows, and what has died; in slices."""
        swept = 0
        for state in list(self._shared.pooled):
            swept += 1 + len(state.idle)
            state.sweep(now)
            if swept >= SWEPT:
                swept = 0
                yield

    def failing(self, now: float) -> Iterator[Failing]:
        """Those that could not be connected to when that was tried last."""
        for state in itertools.chain.from_iterable(self.clusters.values()):
            if state.back_off.failures:
                cluster_id, backend_id, address = key_of(state.backend)
                yield Failing(
                    cluster_id=cluster_id,
                    backend_id=backend_id,
                    address=address,
                    failures=state.back_off.failures,
                    seconds=max(0.0, state.back_off.until - now),
                )

    def learn(self, failing: Iterable[Failing], now: float) -> Iterator[None]:
        """Leave those alone that are here, too, as the worker before did; nobody is told of them again. In slices."""
        by_cluster: dict[str, list[Failing]] = {}
        for each in failing:
            by_cluster.setdefault(each.cluster_id, []).append(each)
        for cluster_id, those in by_cluster.items():
            states = {key_of(state.backend): state for state in self.find(cluster_id) or ()}
            for batch in batches(those):
                for each in batch:
                    state = states.get((cluster_id, each.backend_id, each.address))
                    if state is not None and state.back_off.failures < each.failures:
                        state.back_off.failures, state.back_off.until = each.failures, now + each.seconds
                yield

    def describe(self, cluster_id: str | None, now: float) -> Iterator[dict[str, Any]]:
        """Every backend of a cluster, of all of them for None, for an operator; JSON. `retry_in`: seconds."""
        for chosen in list(self._swaps.entries) if cluster_id is None else [cluster_id]:
            for state in self.find(chosen) or ():
                yield _describe(state, now)


def key_of(backend: Backend) -> BackendKey:
    return backend.cluster_id, backend.backend_id, backend.address


def _describe(state: BackendState, now: float) -> dict[str, Any]:
    back_off = state.back_off
    return {
        "cluster": state.backend.cluster_id,
        "backend_id": state.backend.backend_id,
        "address": state.address,
        "connections": state.connections,
        "requests": state.requests,
        "idle": len(state.idle),
        "failures": back_off.failures,
        "retry_in": 0 if back_off.ready(now) else round(back_off.until - now, 3),
    }
