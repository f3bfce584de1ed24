"""What changes about backends while requests come and go: load, back-off, connections kept for reuse.

It lives beside the Table, keyed by (cluster, backend id, address), and survives its swaps. Everything here is
synchronous: a backend is chosen, and a connection taken or given back, between two checkpoints, so nothing needs a
lock.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster, LoadMetric
from sozu_trio.proxy.stream import Stream
from sozu_trio.routing.backoff import BackOff
from sozu_trio.routing.balancing import Balancer, make_balancer
from sozu_trio.routing.table import ClusterEntry

BackendKey = tuple[str, str, Address]

INITIAL_CONNECTION_TIME = 0.05
"""Seconds assumed of a backend never connected to, as in Sōzu."""
DECAY = 1.0
"""Seconds over which a measured peak of the connection time fades."""


@dataclass(slots=True, eq=False)
class Connection:
    """A connection to a backend, for as long as it lives: serving one request after the other, idle in between."""

    state: "BackendState"
    stream: Stream
    reused: bool = False
    """It has served a request before: the backend may have closed it meanwhile without anything being wrong."""
    idle_since: float = 0.0
    _written_before: int = 0

    @property
    def written(self) -> int:
        """Bytes that were written for the request it now serves."""
        return self.stream.bytes_out - self._written_before

    def reuse(self) -> None:
        self.reused = True
        self._written_before = self.stream.bytes_out


@dataclass(slots=True, eq=False)
class BackendState:
    """One backend as this worker has met it."""

    backend: Backend
    metric: LoadMetric
    weight: int
    address: str
    """For the access log."""
    back_off: BackOff = field(default_factory=BackOff)
    connections: int = 0
    """Open ones, idle ones included."""
    requests: int = 0
    """Requests or TCP sessions now being served."""
    idle: list[Connection] = field(default_factory=list)
    """Most recently used last: the top of the stack is the least likely to be dead."""
    removed: bool = False
    """No longer configured: connections in use finish and are not kept."""
    _connection_time: float = INITIAL_CONNECTION_TIME
    _measured: float = 0

    @property
    def name(self) -> str:
        """For the log."""
        return f"backend {self.backend.backend_id} of cluster {self.backend.cluster_id} at {self.address}"

    def load(self) -> float:
        if self.metric is LoadMetric.REQUESTS:
            return self.requests
        if self.metric is LoadMetric.CONNECTIONS:
            # A pooled connection that waits is no load; two requests on two connections are.
            return self.connections - len(self.idle)
        return self._connection_time * (self.requests + 1)

    def connected(self, seconds: float, now: float) -> None:
        """A connection was made: peaks count at once and fade, as in Sōzu."""
        self.back_off.succeed()
        faded = self._connection_time * max(0.0, 1 - (now - self._measured) / DECAY)
        self._connection_time = max(seconds, faded)
        self._measured = now

    def take_idle(self) -> Connection | None:
        """The connection used last that is still alive and quiet."""
        while self.idle:
            connection = self.idle.pop()
            if connection.stream.is_quiet():
                connection.reuse()
                self.requests += 1
                return connection
            self.drop(connection)
        return None

    def keep(self, connection: Connection, cluster: Cluster, now: float) -> None:
        """Keep `connection` for reuse, or close it where there are enough."""
        if self.removed or len(self.idle) >= cluster.max_idle_connections:
            self.drop(connection)
        else:
            connection.idle_since = now
            self.idle.append(connection)

    def drop(self, connection: Connection) -> None:
        self.connections -= 1
        connection.stream.close()

    def close_idle(self, before: float) -> int:
        """Close connections idle since before `before` (seconds) and those that have died. Returns how many."""
        kept, closed = [], 0
        for connection in self.idle:
            if connection.idle_since >= before and connection.stream.is_quiet():
                kept.append(connection)
            else:
                self.drop(connection)
                closed += 1
        self.idle = kept
        return closed


@dataclass(slots=True, eq=False)
class ClusterState:
    """A cluster of one Table with the states of its backends; a request keeps the one it began with."""

    cluster: Cluster
    primaries: list[BackendState]
    backups: list[BackendState]
    balancer: Balancer

    def choose(self, now: float, tried: list[BackendState]) -> BackendState | None:
        """The backend for the next attempt: a primary not in back-off, else a backup; None when there is none.

        Those tried already are passed over while there are others.
        """
        for members in (self.primaries, self.backups):
            candidates = [member for member in members if not member.back_off.failures or member.back_off.ready(now)]
            if tried and len(candidates) > 1:
                candidates = [member for member in candidates if member not in tried] or candidates
            if candidates:
                return self.balancer.pick(candidates) if len(candidates) > 1 else candidates[0]
        return None


class BackendStates:
    """Every backend this worker knows, and every cluster of the Table in force."""

    def __init__(self, random: Callable[[], float]) -> None:
        self.clusters: dict[str, ClusterState] = {}
        self._random = random
        self._states: dict[BackendKey, BackendState] = {}

    def swap(self, entries: Mapping[str, ClusterEntry]) -> None:
        """Follow a new Table: what stays keeps its state, what is gone closes its idle connections."""
        before, self._states = self._states, {}
        self.clusters = {cluster_id: self._follow(entry, before) for cluster_id, entry in entries.items()}
        for key in before.keys() - self._states.keys():
            before[key].removed = True
            before[key].close_idle(float("inf"))

    def _follow(self, entry: ClusterEntry, before: dict[BackendKey, BackendState]) -> ClusterState:
        cluster = entry.cluster
        members = [self._member(cluster, backend, before) for backend in entry.backends]
        return ClusterState(
            cluster,
            [member for member in members if not member.backend.backup],
            [member for member in members if member.backend.backup],
            self._balancer(cluster),
        )

    def _member(self, cluster: Cluster, backend: Backend, before: dict[BackendKey, BackendState]) -> BackendState:
        key = (backend.cluster_id, backend.backend_id, backend.address)
        state = before.get(key) or BackendState(backend, cluster.load_metric, backend.weight, str(backend.address))
        state.backend, state.metric, state.weight = backend, cluster.load_metric, backend.weight
        self._states[key] = state
        return state

    def _balancer(self, cluster: Cluster) -> Balancer:
        known = self.clusters.get(cluster.cluster_id)
        if known and known.cluster.load_balancing is cluster.load_balancing:
            return known.balancer
        return make_balancer(cluster.load_balancing, self._random)

    def close_idle(self) -> int:
        """Close every idle connection, because descriptors are needed. Returns how many."""
        return sum(state.close_idle(float("inf")) for state in self._states.values())

    def sweep(self, now: float) -> None:
        """Close what has been idle for longer than its cluster allows, and what has died."""
        for cluster in self.clusters.values():
            limit = cluster.cluster.idle_timeout
            for state in (*cluster.primaries, *cluster.backups):
                if state.idle:
                    state.close_idle(now - limit if limit else float("-inf"))
