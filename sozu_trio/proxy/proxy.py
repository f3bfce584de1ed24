"""What all sessions of a worker share.

`table` is read once at the start of each exchange and kept for its whole life. What changes with traffic lives beside
it and survives its swaps.
"""

import random
import time
from collections.abc import Callable

import trio

from sozu_trio.config.limits import LOG_LINES
from sozu_trio.config.program import Program
from sozu_trio.nursery.hangup import HangupWatch
from sozu_trio.proxy.backends import BackendStates, ClusterState
from sozu_trio.proxy.connect import BackendTimeouts, Connector
from sozu_trio.proxy.patience import Wheel
from sozu_trio.proxy.pipes import PipeStock
from sozu_trio.routing.state import EMPTY
from sozu_trio.routing.table import Table, compile_table
from sozu_trio.telemetry.access_log import AccessLog
from sozu_trio.telemetry.counters import Counters
from sozu_trio.telemetry.ids import IdSource
from sozu_trio.telemetry.lines import LineBuffer

SWEEP_PERIOD = 1.0
"""Seconds between two looks at idle backend connections."""


class Proxy:
    """The live state of one worker's data path."""

    def __init__(self, program: Program, worker_id: int) -> None:
        self.program = program
        self.table: Table = compile_table(EMPTY, 0)
        self.counters = Counters()
        self.lines = LineBuffer(LOG_LINES)
        self.access_log = AccessLog(
            self.lines,
            program.access_logs_format,
            tag=f"WRK-{worker_id:02}",
            colored=program.access_logs_colored,
        )
        self.ids = IdSource(time.time, random.Random().randbytes)
        self.random = random.random
        self.backends = BackendStates(self.random)
        self.hangups = HangupWatch()
        self.pipes = PipeStock()
        self.wheel = Wheel()
        self.relieve: Callable[[], int] = self.close_unused
        """What to do when the kernel has no more descriptors; whoever knows of more to close puts it here."""

    def connector(self, cluster: ClusterState, timeouts: BackendTimeouts) -> Connector:
        """What connects one request or session to `cluster`."""
        return Connector(cluster, timeouts, self.counters, self.random, self.relieve)

    def swap(self, table: Table) -> None:
        """Serve by `table` from now on."""
        self.table = table
        self.backends.swap(table.clusters)

    async def sweep_idle(self) -> None:
        """Close backend connections that were idle for too long or have died; all of them in the end."""
        try:
            while True:
                await trio.sleep(SWEEP_PERIOD)
                self.backends.sweep(trio.current_time())
        finally:
            self.close_unused()

    def close_unused(self) -> int:
        """Close what nobody uses, because descriptors are needed; returns how many that freed."""
        return self.backends.close_idle() + self.pipes.close()
