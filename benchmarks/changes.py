"""Traffic while changes stream in, beside the same traffic without: what clients feel of them, and how long one takes.

Requests come at a pace that a worker can keep, on connections that stay: of a worker that has more to do than it can,
the latency says how long its queue is. Changes come at theirs, over one connection, and most are to the cluster that is
asked for: a backend comes and goes, its options change. They are written into the journal. CPU per request has main's
share of them in it.
"""

import argparse
import contextlib
import functools
import itertools
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import anyio

from benchmarks import report
from benchmarks.bars import Row, milliseconds
from benchmarks.clients import PATIENCE
from benchmarks.measure import Figures, Work, WrongAnswer, requests_in_turn
from benchmarks.peers import CLUSTERS, COMMAND_SOCKET, HOST, SMALL, installed, many_hosts, sozu_trio
from benchmarks.rounds import Outcome, measured, say, show
from benchmarks.state import CHANGE_AIM, CHANGE_BAR, HOLD_AIM, HOLD_BAR, longest_hold
from sozu_trio.control.client import Client, open_client
from sozu_trio.errors import ControlError

QUIET, CHANGED = "no changes", "changes"
CONNECTIONS, PACE = 64, 2000
"""How many, and the requests a second that all of them come to where answers take no time."""
RATE = 50
"""Changes a second."""
CLUSTER = "cluster-0"
"""The one of HOST (peers.py)."""
KEPT = 'saved_state = "state.json"\nautomatic_state_save = true'
PERCENTILES = {"p50": "p50", "p99": "p99", "p99.9": "p999"}
"""What people call them, and their names in Figures."""

Change = tuple[str, dict[str, object]]


@dataclass(frozen=True, slots=True)
class Stream:
    """What the streams of all rounds have seen."""

    seconds: list[float] = field(default_factory=list)
    """Of each change, from its request to the answer."""
    holds: list[float] = field(default_factory=list)
    """The longest that a worker's loop was held since it began to serve, in seconds, of each round."""


def changes(options: argparse.Namespace) -> Outcome:
    """Raises OSError, ProcessTrouble, WrongAnswer."""
    installed("wrk")
    stream, proxy = Stream(), sozu_trio(many_hosts(CLUSTERS), program=KEPT)
    peers = {QUIET: proxy, CHANGED: replace(proxy, beside=functools.partial(streaming, stream))}
    work = Work(path="/", connections=CONNECTIONS, body=SMALL, hosts=(HOST,), script=paced())
    rounds = measured(peers, work, b"", options)
    record = show("changes", rounds, CHANGED, work, options)
    rows = table(rounds[CHANGED], rounds[QUIET])
    how = f"{RATE} changes a second, or none"
    print(report.section("latency while changes stream in", how, rows, as_markdown=options.markdown), flush=True)
    found = {"changes": stream.seconds, "holds": stream.holds}
    return Outcome(rows=bars_of(stream), record=record | found)


def paced() -> str:
    """A wrk script; each pause is drawn anew, so that connections do not fall into step. It is in milliseconds."""
    longest = 2000 * CONNECTIONS // PACE
    return requests_in_turn((HOST,)) + f"function delay() return math.random(0, {longest}) end\n"


@contextlib.contextmanager
def streaming(seen: Stream, folder: Path, backend: int) -> Iterator[None]:
    """Changes to the proxy in `folder`, in a thread, until the body ends. Raises OSError, WrongAnswer."""
    enough = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        doing = thread.submit(anyio.run, change_on, folder / COMMAND_SOCKET, backend, enough, seen)
        try:
            yield
        finally:
            enough.set()
        doing.result()


async def change_on(path: Path, backend: int, enough: threading.Event, seen: Stream) -> None:
    """Raises OSError; WrongAnswer where a change is refused or the proxy goes away."""
    try:
        async with open_client(path) as client:
            seen.seconds.extend(await change_until(enough, client, backend))
            seen.holds.append(await longest_hold(client))
    except ControlError as error:
        raise WrongAnswer(f"a change: {error}") from error


async def change_until(enough: threading.Event, client: Client, backend: int) -> list[float]:
    """RATE a second as long as the proxy keeps up, and else one after the other. Seconds of each."""
    seconds, began = [], time.monotonic()
    for number, (verb, body) in enumerate(itertools.cycle(turn(backend))):
        if enough.is_set():
            break
        await anyio.sleep(max(0, began + number / RATE - time.monotonic()))
        asked = time.monotonic()
        with anyio.fail_after(PATIENCE):
            await client.ask(verb, body)
        seconds.append(time.monotonic() - asked)
    say(f"{len(seconds)} changes, {len(seconds) / (time.monotonic() - began):.0f} a second")
    return seconds


def turn(backend: int) -> tuple[Change, ...]:
    """What is changed again and again; at its end all is as it was. The backend that comes is the one that is there."""
    extra = {"id": CLUSTER, "backend-id": "extra", "address": f"127.0.0.1:{backend}"}
    return (
        ("backend add", {**extra, "weight": 7}),
        ("cluster update", {"id": CLUSTER, "load-balancing-policy": "random"}),
        ("cluster add", {"id": "new"}),
        ("backend remove", {**extra}),
        ("cluster update", {"id": CLUSTER, "load-balancing-policy": "round-robin"}),
        ("cluster remove", {"id": "new"}),
    )


def table(changed: Sequence[Figures], quiet: Sequence[Figures]) -> list[tuple[str, ...]]:
    """Headings, then a row for each percentile: medians, and the ratio within a round."""
    rows: list[tuple[str, ...]] = [("latency", "ms with changes", "ms without", "with ÷ without", "min–max")]
    for name, field_name in PERCENTILES.items():
        with_them, without = ([getattr(each, field_name) for each in rounds] for rounds in (changed, quiet))
        found = report.ratio_of(with_them, without)
        medians = (f"{statistics.median(each):.2f}" for each in (with_them, without))
        rows.append((name, *medians, f"{found.median:.2f}", f"{found.low:.2f}–{found.high:.2f}"))
    return rows


def bars_of(stream: Stream) -> list[Row]:
    return [
        milliseconds(
            "changes: one of them, under load, median", statistics.median(stream.seconds), CHANGE_BAR, CHANGE_AIM
        ),
        milliseconds("changes: a worker's loop held, longest", max(stream.holds), HOLD_BAR, HOLD_AIM),
    ]
