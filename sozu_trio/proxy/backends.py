"""What changes about backends while requests come and go: load, back-off, connections kept for reuse.

It lives beside the Table and survives its swaps (`backend_states.py`). Everything here is synchronous: a backend is
chosen, and a connection taken or given back, between two checkpoints, so nothing needs a lock.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster, LoadMetric
from sozu_trio.nursery.listener import SessionKind
from sozu_trio.proxy.queueing import Gauge, Queue
from sozu_trio.proxy.stream import Stream
from sozu_trio.proxy.tls_stream import TlsStream
from sozu_trio.routing.backoff import BackOff
from sozu_trio.routing.balancing import Balancer
from sozu_trio.tls.client_contexts import ClientTls, Session

INITIAL_CONNECTION_TIME = 0.05
"""Seconds assumed of a backend never connected to, as in Sōzu."""
DECAY = 1.0
"""Seconds over which a measured peak of the connection time fades."""

Tell = Callable[[str, str, str | None, Address | None], None]
"""`tell(kind, cluster_id, backend_id, address)`: something happened. It is told between two checkpoints and must not
block.
"""


def tell_nobody(kind: str, cluster_id: str, backend_id: str | None, address: Address | None) -> None:
    """Where nobody wants to know."""


@dataclass(slots=True, eq=False)
class Connection:
    """A connection to a backend, for as long as it lives: serving one request after the other, idle in between."""

    state: "BackendState"
    stream: Stream
    reused: bool = False
    """It has served a request before: the backend may have closed it meanwhile without anything being wrong."""
    idle_since: float = 0.0
    is_cut: bool = False
    tls: ClientTls | None = None
    """How TLS is spoken on it; None = it is not."""
    kind: SessionKind = "http"
    """Whoever uses it says so when it becomes something else."""
    on_cut: Callable[[], None] | None = None
    """Called when it is cut, for a user who may be waiting for somebody else."""
    _written_before: int = 0

    @property
    def written(self) -> int:
        """Bytes that were written for the request it now serves."""
        return self.stream.bytes_out - self._written_before

    def remember(self) -> None:
        """After its first request: let the next connection resume its session, by a ticket that has come meanwhile."""
        stream, state = self.stream, self.state
        if not self.reused and self.tls is state.tls and isinstance(stream, TlsStream):
            state.session = stream.session or state.session

    def reuse(self) -> None:
        self.reused = True
        self._written_before = self.stream.bytes_out


class NoRoom(Exception):
    """There are backends, and none may have one more connection now."""


class Shared:
    """What all backends of a worker enter themselves in."""

    __slots__ = ("open", "pooled")

    def __init__(self) -> None:
        self.open: set[Connection] = set()
        """Every connection that is."""
        self.pooled: dict[BackendState, None] = {}
        """Every backend that has idle connections, and some that have had."""


@dataclass(slots=True, eq=False)
class BackendState:
    """One backend as this worker has met it."""

    backend: Backend
    metric: LoadMetric
    weight: int
    address: str
    """For the access log."""
    idle_timeout: float = 0
    """Seconds a connection is kept; 0 = for ever."""
    shared: Shared = field(default_factory=Shared)
    back_off: BackOff = field(default_factory=BackOff)
    connections: int = 0
    """Open ones, idle ones included, and attempts at one."""
    requests: int = 0
    """Requests or TCP sessions now being served."""
    idle: list[Connection] = field(default_factory=list)
    """Most recently used last: the top of the stack is the least likely to be dead."""
    leaving: Callable[["BackendState"], None] | None = None
    """Set when it is no longer configured, and called whenever `connections` changes from then on. Those in use finish
    and are not kept.
    """
    tls: ClientTls | None = None
    """How TLS is spoken to it; None = it is not."""
    session: Session | None = None
    """What the next connection may resume."""
    refusal: str = ""
    """Why TLS with it did not come about when that was tried last; empty where it did, or was not tried."""
    queue: Queue | None = None
    """Of its cluster, where that or one of its backends may have only so many connections."""
    gauge: Gauge | None = None
    """Connections to it, where it may have only so many."""
    is_cut: bool = False
    """Nobody may connect to it again: it was removed, and what it still served was cut."""
    _is_pooled: bool = False
    _connection_time: float = INITIAL_CONNECTION_TIME
    _measured: float = 0

    @property
    def name(self) -> str:
        """For the log."""
        return f"backend {self.backend.backend_id} of cluster {self.backend.cluster_id} at {self.address}"

    def speak(self, tls: ClientTls | None) -> int:
        """Speak so from now on; what was spoken to otherwise is used no more. Returns how many idle connections that
        closed.
        """
        if tls is self.tls:
            return 0
        self.tls, self.session, self.refusal = tls, None, ""
        return self.close_idle()

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

    def count(self, change: int, *, yields: bool = False) -> None:
        """`change` more connections, attempts included; `yields`: what has become free is for others."""
        self.connections += change
        if self.queue is not None:
            self._measure(change)
            if change < 0 and not yields:
                self.queue.freed()
        if self.leaving is not None:
            self.leaving(self)

    def limit(self, queue: Queue | None, gauge: Gauge | None) -> None:
        """Count in these from now on, what there is already included."""
        if queue is self.queue and (gauge is None) is (self.gauge is None):
            return
        self._measure(-self.connections)
        self.queue, self.gauge = queue, gauge
        self._measure(self.connections)

    def _measure(self, change: int) -> None:
        if self.queue is not None:
            self.queue.connections.change(change)
        if self.gauge is not None:
            self.gauge.change(change)

    @property
    def is_full(self) -> bool:
        return self.gauge is not None and self.gauge.total() >= self.backend.max_connections

    def close_oldest(self) -> None:
        """Close the connection that has been idle longest."""
        self.drop(self.idle.pop(0))

    def use(self, stream: Stream, tls: ClientTls | None = None) -> Connection:
        """A connection, already counted, on its way to serve its first request."""
        connection = Connection(self, stream, tls=tls)
        self.shared.open.add(connection)
        self.requests += 1
        return connection

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
        full = len(self.idle) >= cluster.max_idle_connections
        yields = self.queue is not None and self.queue.is_theirs()
        if yields or full or self.leaving is not None or connection.is_cut or connection.tls is not self.tls:
            self.drop(connection, yields=yields)
            return
        connection.idle_since = now
        self.idle.append(connection)
        if not self._is_pooled:
            self._is_pooled = True
            self.shared.pooled[self] = None
        if self.queue is not None:
            self.queue.wake()

    def drop(self, connection: Connection, *, yields: bool = False) -> None:
        """Close `connection`; one that was cut is closed already. `yields` as for `count`."""
        if connection.is_cut:
            return
        self.shared.open.discard(connection)
        connection.stream.close()
        self.count(-1, yields=yields)

    def cut(self, connection: Connection) -> None:
        """Close `connection` under its user, who meets a reset: never an end that could pass for a good one."""
        connection.is_cut = True
        self.shared.open.discard(connection)
        connection.stream.sever()
        self.count(-1)
        if connection.on_cut is not None:
            connection.on_cut()

    def hide(self, connection: Connection) -> None:
        """Have no cut touch `connection`: it may be about to live on in another process, which a reset would reach."""
        self.shared.open.discard(connection)

    def show(self, connection: Connection) -> None:
        """It does not; it is cut where it would have been meanwhile."""
        self.shared.open.add(connection)
        if self.is_cut:
            self.cut(connection)

    def close_idle(self, before: float = math.inf) -> int:
        """Close connections idle since before `before` (seconds) and those that have died. Returns how many."""
        idle, self.idle = self.idle, []
        for connection in idle:
            if connection.idle_since >= before and connection.stream.is_quiet():
                self.idle.append(connection)
            else:
                self.drop(connection)
        return len(idle) - len(self.idle)

    def sweep(self, now: float) -> None:
        """Close what has been idle for too long or has died; leave the list of the pooled where there is nothing."""
        self.close_idle(now - self.idle_timeout if self.idle_timeout else -math.inf)
        if not self.idle:
            self._is_pooled = False
            self.shared.pooled.pop(self, None)


@dataclass(slots=True, eq=False)
class Availability:
    """Whether a cluster has had a backend to offer when it was asked last; its own over all swaps."""

    tell: Tell = tell_nobody
    exhausted: bool = False


@dataclass(slots=True, eq=False)
class ClusterState:
    """A cluster of one Table with the states of its backends; a request keeps the one it began with."""

    cluster: Cluster
    primaries: list[BackendState]
    backups: list[BackendState]
    balancer: Balancer
    availability: Availability = field(default_factory=Availability)
    tls: ClientTls | None = None
    """How TLS is spoken to its backends; None = it is not."""
    queue: Queue | None = None
    """Set where it, or one of its backends, may have only so many connections."""

    def __iter__(self) -> Iterator[BackendState]:
        yield from self.primaries
        yield from self.backups

    def choose(self, now: float, tried: Sequence[BackendState]) -> BackendState | None:
        """The backend for the next attempt: a primary not in back-off, else a backup; None when there is none.

        Those tried already are passed over while there are others. Raises NoRoom where all of them have as many
        connections as they may have, and none that is idle.
        """
        for members in (self.primaries, self.backups):
            candidates = [member for member in members if not member.back_off.failures or member.back_off.ready(now)]
            if tried and len(candidates) > 1:
                candidates = [member for member in candidates if member not in tried] or candidates
            if candidates:
                if self.queue is not None:
                    candidates = self._with_room(candidates, self.queue)
                return self.balancer.pick(candidates) if len(candidates) > 1 else candidates[0]
        if not self.availability.exhausted:
            self.availability.exhausted = True
            self.availability.tell("NO_AVAILABLE_BACKENDS", self.cluster.cluster_id, None, None)
        return None

    def _with_room(self, candidates: list[BackendState], queue: Queue) -> list[BackendState]:
        if self._is_full(queue) and not any(state.idle for state in self):
            raise NoRoom
        roomy = [state for state in candidates if state.idle or not state.is_full]
        if not roomy:
            raise NoRoom
        return roomy

    def _is_full(self, queue: Queue) -> bool:
        return 0 < self.cluster.max_connections <= queue.connections.total()

    def make_room(self, chosen: BackendState) -> None:
        """Close what is idle as far as it is in the way of another connection to `chosen`."""
        if self.queue is None:
            return
        if chosen.idle and chosen.is_full:
            chosen.close_oldest()
        if self._is_full(self.queue) and (idle := [state for state in self if state.idle]):
            min(idle, key=lambda state: state.idle[0].idle_since).close_oldest()

    def refusal(self) -> str:
        """Why TLS with one of its backends did not come about; empty where there is none of whom that is known."""
        return next((state.refusal for state in self if state.refusal), "")

    def recovered(self) -> None:
        """A backend serves, after there was none to choose."""
        self.availability.exhausted = False
        self.availability.tell("CLUSTER_RECOVERED", self.cluster.cluster_id, None, None)

    def tell_of(self, kind: str, state: BackendState) -> None:
        """Something happened to one of the backends."""
        self.availability.tell(kind, self.cluster.cluster_id, state.backend.backend_id, state.backend.address)
