"""What all sessions of a worker share.

`table` is read once at the start of each exchange and kept for its whole life. What changes with traffic lives beside
it and survives its swaps.
"""

import random
import time
from collections.abc import Callable
from typing import Any

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import HttpFrontend
from sozu_trio.config.limits import LOG_LINES
from sozu_trio.config.program import Program
from sozu_trio.nursery.garbage import keep
from sozu_trio.nursery.hangup import HangupWatch
from sozu_trio.nursery.holding import in_slices
from sozu_trio.proxy.backend_states import BackendStates
from sozu_trio.proxy.backends import ClusterState, Tell, tell_nobody
from sozu_trio.proxy.connect import BackendTimeouts, Connector, TcpConnector
from sozu_trio.proxy.patience import Wheel
from sozu_trio.proxy.pipes import PipeStock
from sozu_trio.proxy.tls_listeners import TlsListeners
from sozu_trio.routing.slices import finish
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

    def __init__(self, program: Program, worker_id: int, key_log: KeyLog | None = None) -> None:
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
        self.backends = BackendStates(self.random, lambda *event: self.on_event(*event))
        self._swapped = trio.Event()
        self.hangups = HangupWatch()
        self.pipes = PipeStock()
        self.wheel = Wheel()
        self.tls = TlsListeners(key_log)
        self.relieve: Callable[[], int] = self.close_unused
        """What to do when the kernel has no more descriptors; whoever knows of more to close puts it here."""

    def connector(self, cluster: ClusterState, timeouts: BackendTimeouts) -> Connector:
        """What connects one request or session to `cluster`."""
        return Connector(cluster, timeouts, self.counters, self.random, self.relieve)

    def tcp_connector(self, cluster: ClusterState, timeouts: BackendTimeouts, opening: bytes) -> TcpConnector:
        """The same for a tcp session; where `cluster` speaks TLS, `opening` goes before that."""
        connector = TcpConnector(cluster, timeouts, self.counters, self.random, self.relieve)
        connector.opening = opening
        return connector

    def swap(self, table: Table) -> None:
        """Serve by `table` from now on."""
        serves = self.table.generation > 0
        self.table = table
        self.backends.swap(table.clusters)
        self.tls.follow(table)
        if serves:
            self._swapped.set()
        else:
            # Nobody is kept waiting yet, and what is made now is there when the process is said to be ready.
            finish(self.backends.follow())

    async def follow_swaps(self) -> None:
        """Have the backends of every Table that comes be followed, in slices."""
        while True:
            await self._swapped.wait()
            self._swapped = trio.Event()
            keep(await in_slices(self.backends.follow(), self.counters))

    async def sweep_idle(self) -> None:
        """Close backend connections that were idle for too long or have died; all of them in the end."""
        try:
            while True:
                await trio.sleep(SWEEP_PERIOD)
                for _ in self.backends.sweep(trio.current_time()):
                    await trio.lowlevel.checkpoint()
        finally:
            self.close_unused()

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
