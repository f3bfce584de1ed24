"""What all sessions of a worker share.

`table` is read once at the start of each exchange and kept for its whole life. What changes with traffic lives beside
it and survives its swaps.
"""

import random
import time
from collections.abc import Callable
from typing import Any, NoReturn

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Cluster, HttpFrontend
from sozu_trio.config.limits import LOG_LINES
from sozu_trio.config.listeners import HttpListener
from sozu_trio.config.program import Program
from sozu_trio.errors import LimitReached
from sozu_trio.nursery.garbage import keep
from sozu_trio.nursery.holding import in_slices
from sozu_trio.nursery.listener import SessionNode
from sozu_trio.nursery.places import Places
from sozu_trio.proxy.backend_states import BackendStates
from sozu_trio.proxy.backends import ClusterState, Tell, tell_nobody
from sozu_trio.proxy.connect import BackendTimeouts, Connector, TcpConnector
from sozu_trio.proxy.outdated import turned
from sozu_trio.proxy.patience import Wheel
from sozu_trio.proxy.pipes import PipeStock
from sozu_trio.proxy.queueing import LOOK
from sozu_trio.proxy.rates import Rates
from sozu_trio.proxy.terms import Terms
from sozu_trio.proxy.tls_listeners import TlsListeners
from sozu_trio.proxy.trimming import Trimming
from sozu_trio.routing.slices import finish
from sozu_trio.routing.state import ListenerKey
from sozu_trio.routing.table import NO_TABLE, Table
from sozu_trio.telemetry.access_log import AccessLog
from sozu_trio.telemetry.claims import tag_of
from sozu_trio.telemetry.counters import Counters
from sozu_trio.telemetry.ids import IdSource
from sozu_trio.telemetry.lines import LineBuffer
from sozu_trio.tls.key_log import KeyLog

SWEEP_PERIOD = 1.0
"""Seconds between two looks at idle backend connections."""


class Proxy:
    """The live state of one worker's data path."""

    def __init__(self, program: Program, worker_id: int, places: Places, key_log: KeyLog | None = None) -> None:
        """`places`: of the addresses of clients."""
        self.places = places
        self.rates = Rates(places.tally, program.settings)
        self.program = program
        self.settings = program.settings
        """Those in force."""
        self.table: Table = NO_TABLE
        self.counters = Counters()
        self.lines = LineBuffer(LOG_LINES)
        self.access_log = AccessLog(
            self.lines,
            program.access_logs_format,
            tag=tag_of(worker_id),
            colored=program.access_logs_colored,
        )
        self.ids = IdSource(time.time, random.Random().randbytes)
        self.random = random.random
        self.on_event: Tell = tell_nobody
        """Told what happens to backends; whoever wants to know puts it here."""
        self.backends = BackendStates(self.random, places.tally, lambda *event: self.on_event(*event))
        self._swapped = trio.Event()
        self.pipes = PipeStock()
        self.wheel = Wheel()
        self.tls = TlsListeners(key_log)
        self._terms: dict[Address, Terms] = {}
        self.relieve: Callable[[], int] = self.close_unused
        """What to do when the kernel has no more descriptors; whoever knows of more to close puts it here."""

    def enter(self, node: SessionNode, cluster: Cluster, client: Address) -> None:
        """Count a connection of `client` that was routed to `cluster`, until it ends. Raises LimitReached."""
        if self.places.enter(node.held, cluster, client.host):
            return
        self.counters.refused_per_cluster += 1
        wait = self.settings.retry_after if cluster.retry_after is None else cluster.retry_after
        why = f"too many connections of the client's address in cluster {cluster.cluster_id}"
        raise LimitReached(why, wait, closes=True)

    def take_request(self, client: Address) -> None:
        """A request of `client`, for whatever it is. Raises LimitReached where that asks too often."""
        if wait := self.rates.wait_of(client.host, trio.current_time()):
            self._limit_rate("the client's address asks too often", wait, self.settings.retry_after)

    def take_request_for(self, cluster: Cluster) -> None:
        """A request that was routed to `cluster`. Raises LimitReached where that gets too many."""
        if wait := self.rates.wait_for(cluster, trio.current_time()):
            kept = self.settings.retry_after if cluster.retry_after is None else cluster.retry_after
            self._limit_rate(f"cluster {cluster.cluster_id} is asked too often", wait, kept)

    def _limit_rate(self, why: str, wait: int, kept: int) -> NoReturn:
        """`kept`: 0 where nobody is to be told when to come again."""
        self.counters.rate_limited += 1
        raise LimitReached(why, wait if kept else 0, closes=False)

    def connector(self, cluster: ClusterState, timeouts: BackendTimeouts) -> Connector:
        """What connects one request or session to `cluster`."""
        return Connector(cluster, timeouts, self.counters, self.random, self.relieve)

    def tcp_connector(self, cluster: ClusterState, timeouts: BackendTimeouts, opening: bytes) -> TcpConnector:
        """The same for a tcp session; where `cluster` speaks TLS, `opening` goes before that."""
        connector = TcpConnector(cluster, timeouts, self.counters, self.random, self.relieve)
        connector.opening = opening
        return connector

    def terms_of(self, listener: HttpListener) -> Terms:
        """What the connections of `listener` go by."""
        known = self._terms.get(listener.address)
        if known is None or known.listener is not listener:
            known = self._terms[listener.address] = Terms(listener)
        return known

    def swap(self, table: Table) -> list[ListenerKey]:
        """Serve by `table` from now on. Returns the listeners whose idle connections have to look what they are now."""
        serves = self.table.generation > 0
        before, self.table = self.table, table
        self._terms.clear()
        self.backends.swap(table.clusters)
        self.tls.follow(table)
        if serves:
            self._swapped.set()
        else:
            # Nobody is kept waiting yet, and what is made now is there when the process is said to be ready.
            finish(self.backends.follow())
        return turned(before.listeners, table.listeners)

    async def follow_swaps(self) -> None:
        """Have the backends of every Table that comes be followed, in slices."""
        while True:
            await self._swapped.wait()
            self._swapped = trio.Event()
            keep(await in_slices(self.backends.follow(), self.counters))

    async def sweep_idle(self) -> None:
        """Close backend connections that were idle for too long or have died; all of them in the end."""
        trimming = Trimming()
        try:
            while True:
                await trio.sleep(SWEEP_PERIOD)
                trimming.look(self.counters.sessions)
                for _ in self.backends.sweep(trio.current_time()):
                    await trio.lowlevel.checkpoint()
        finally:
            self.close_unused()

    async def yield_idle(self) -> None:
        """Close idle backend connections that are in the way of other workers, where these may have no more."""
        while True:
            await trio.sleep(LOOK if self.backends.has_limits else SWEEP_PERIOD)
            self.backends.yield_idle()

    async def sweep_rates(self) -> None:
        """Forget clients that have not asked for a while."""
        while True:
            await trio.sleep(SWEEP_PERIOD)
            self.counters.rate_uncounted = self.rates.uncounted
            for _ in self.rates.sweep(trio.current_time()):
                await trio.lowlevel.checkpoint()

    def close_unused(self) -> int:
        """Close what nobody uses, because descriptors are needed; returns how many that freed."""
        return self.backends.close_idle() + self.pipes.close()

    def describe_backends(self, cluster_id: str | None) -> list[dict[str, Any]]:
        """JSON for an operator: the backends of a cluster, or of all for None, as `BackendStates.describe` does."""
        return list(self.backends.describe(cluster_id, trio.current_time()))

    def find_route(self, address: Address, host: bytes, path: bytes, method: bytes) -> dict[str, Any]:
        """JSON for an operator: where a request or session that comes to `address` goes, and by which frontend.

        `host`, `path`, `method` as `HttpRoutes.find` takes them.
        """
        table = self.table
        route: dict[str, Any] = {"generation": table.generation, "outcome": "no listener"}
        route |= {"frontend": None, "cluster": None}
        decision = table.http[address].find(host, path, method) if address in table.http else table.tcp.get(address)
        if decision is not None:
            route["outcome"] = decision.outcome.value
            route["frontend"] = None if decision.frontend is None else describe_frontend(decision.frontend)
            route["cluster"] = None if decision.cluster is None else decision.cluster.cluster.cluster_id
        return route


def describe_frontend(frontend: HttpFrontend) -> dict[str, Any]:
    """JSON for an operator; `cluster` is null where it denies."""
    return {
        "address": str(frontend.address),
        "hostname": frontend.hostname,
        "path_type": frontend.path_type.value,
        "path": frontend.path,
        "method": frontend.method,
        "position": frontend.position.value,
        "cluster": frontend.cluster_id,
    }
