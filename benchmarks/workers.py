"""Two workers beside one: what a request costs, and how evenly connections are spread.

Throughput of two is told, but has no bar: on two cores the load and the backend take as much as the proxy.
"""

import argparse
import tempfile
from pathlib import Path

import anyio

from benchmarks import bars
from benchmarks.bars import Row
from benchmarks.idle import crowd
from benchmarks.measure import Work, WrongAnswer
from benchmarks.peers import (
    CLUSTERS,
    COMMAND_SOCKET,
    HOST,
    SMALL,
    Peer,
    backend_serving,
    installed,
    many_hosts,
    serving,
    sozu_trio,
)
from benchmarks.rounds import Outcome, measured, say, show
from sozu_trio.control.client import open_client

ONE, TWO = "1 worker", "2 workers"
CONNECTIONS = 256
CPU_BAR, SPREAD_BAR = 1.1, 1.5
"""CPU per request of two divided by that of one, connections of the busier worker divided by those of the other."""


def workers(options: argparse.Namespace) -> Outcome:
    """Raises OSError, ProcessTrouble, WrongAnswer."""
    installed("wrk")
    hosts = many_hosts(CLUSTERS)
    peers = {ONE: sozu_trio(hosts), TWO: sozu_trio(hosts, workers=2)}
    work = Work(path="/", connections=CONNECTIONS, body=SMALL, hosts=(HOST,))
    rounds = measured(peers, work, b"", options)
    record = show("workers", rounds, TWO, work, options)
    spreads = [spread(peers[TWO]) for _ in range(options.rounds)]
    widest = max(spreads, key=ratio)
    say(f"{CONNECTIONS} connections, most uneven of {options.rounds}: {' and '.join(map(str, widest))}")
    rows = [
        *bars.against(rounds, TWO, {ONE: CPU_BAR}, "workers"),
        Row(what=f"workers: spread of {CONNECTIONS} connections", figure=ratio(widest), bar=SPREAD_BAR),
    ]
    return Outcome(rows=rows, record=record | {"spreads": spreads})


def spread(peer: Peer) -> list[int]:
    """Connections of each worker, of CONNECTIONS that stay. Raises OSError, ProcessTrouble, WrongAnswer."""
    with (
        tempfile.TemporaryDirectory(prefix="sozu_trio-bench-") as home,
        backend_serving(Path(home), b"") as backend,
        serving(peer, Path(home, "spread"), backend) as (_, port),
        crowd(port, CONNECTIONS),
    ):
        counts = anyio.run(sessions, Path(home, "spread", COMMAND_SOCKET))
    if sum(counts) != CONNECTIONS:
        raise WrongAnswer(f"workers have {' and '.join(map(str, counts))} of {CONNECTIONS} connections")
    return counts


async def sessions(path: Path) -> list[int]:
    """Of each worker."""
    async with open_client(path) as client:
        status = (await client.ask("status")).content
        return [worker["sessions"] for worker in status["workers"]]


def ratio(counts: list[int]) -> float:
    """Of the most to the fewest; infinite where one has none."""
    return max(counts) / min(counts) if min(counts) else float("inf")
