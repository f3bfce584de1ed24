"""More clients than there is room for, and more than there is time for: who is let in is served well, the others are
told at once, and afterwards all is as before.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.arrivals import Latencies, Outcome
from benchmarks.ports import free_port
from benchmarks.processes import family
from tests.e2e.configurations import PATIENT, http_proxy
from tests.e2e.control import ctl_json
from tests.e2e.parts import Nginx, Proxy, StartProxy, wait_until
from tests.e2e.test_limits import sessions

KIBIBYTE = 1024
OF_CONNECTION = 10 * KIBIBYTE
"""Bytes that one takes at most."""
REFUSED_WITHIN = 100
"""Milliseconds for 99 of 100."""
QUIET = 'access_logs_target = "file:///dev/null"'
GOODPUT = 0.8
"""Of what a worker can do at best is done when it is asked for twice as much."""
SLOWER = 5
"""Times by which the slowest of 100 that are served may take longer than at half of that."""
TIMES = 4
"""Requests of a client that has got in, when there is too much to do."""


class Arriving:
    """Clients of a process of their own (`benchmarks/arrivals.py`)."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def outcome(self) -> Outcome:
        """What became of them, when the last one has arrived; those who were let in may still be there."""
        assert self._process.stdout is not None
        said: dict[str, Any] = json.loads(self._process.stdout.readline())
        return Outcome(**said | {name: Latencies(**said[name]) for name in ("served", "refused")})


@contextlib.contextmanager
def arriving(
    port: int, *, rate: float, seconds: float, source: int, asking: Sequence[str] = (), core: int | None = None
) -> Iterator[Arriving]:
    """Clients at so many a second from 127.0.`source`.*; whoever is connected leaves when the body ends. `asking`: for
    what, and how often.
    """
    pinned = [] if core is None else ["taskset", "-c", str(core)]
    words = [str(port), str(rate), str(seconds), str(source), *asking]
    process = subprocess.Popen(
        [*pinned, sys.executable, "-m", "benchmarks.arrivals", *words],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    )
    try:
        with process:
            yield Arriving(process)
    finally:
        process.kill()


def busy() -> str:
    """How much else the machine has to do."""
    return f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"


def shed(proxy: Proxy) -> int:
    """How many it has turned away for want of time, by its own count."""
    found: int = ctl_json(proxy, "metrics", "get")["total"]["listener.shed.overload"]
    return found


@pytest.mark.drill
def test_a_crowd_that_nobody_has_room_for(nginx: Nginx, start_proxy: StartProxy, *, full_drill: bool) -> None:
    """From two processes, four times as many as there is room for; two workers count together."""
    room, rate, seconds = (5000, 1000, 20) if full_drill else (100, 200, 2)
    limits = f"worker_count = 2\nmax_connections_total = {room}\noverload_lag = 0\n{PATIENT}{QUIET}"
    proxy = start_proxy(http_proxy(free_port(), nginx.port, before=limits))
    base, resting = proxy.rss(), proxy.descriptors()
    with (
        arriving(proxy.port, rate=rate / 2, seconds=seconds, source=20) as some,
        arriving(proxy.port, rate=rate / 2, seconds=seconds, source=40) as others,
    ):
        outcomes = [each.outcome() for each in (some, others)]
        grown, inside = proxy.rss() - base, sessions(proxy)
    offered = sum(each.offered for each in outcomes)
    held = sum(each.held for each in outcomes)
    refused = [each.refused for each in outcomes]
    wait_until(lambda: sessions(proxy) == 0)
    wait_until(lambda: proxy.descriptors() <= resting + 3)
    p99 = max(each.p99 for each in refused)
    print(
        f"\n{offered} at {rate} a second: {held} held, {sum(each.number for each in refused)} refused, p99 "
        f"{p99:.1f} ms; {grown / held / KIBIBYTE:.1f} KiB for each, {(proxy.rss() - base) >> 20} MiB kept afterwards; "
        f"arrivals late by {max(each.late for each in outcomes):.0f} ms at most; {busy()}"
    )
    assert [each.others for each in outcomes] == [{}, {}]
    assert offered == rate * seconds
    assert held in (room, room + 1)
    assert inside == held
    assert sum(each.number for each in refused) == offered - held
    if full_drill:
        assert p99 <= REFUSED_WITHIN
        assert grown <= room * OF_CONNECTION


@pytest.mark.drill
def test_twice_what_a_worker_can_take(nginx: Nginx, start_proxy: StartProxy, *, full_drill: bool) -> None:
    """It has one core, all else the other, where the clients must take less than it does: so each asks a few times, as
    browsers do.
    """
    seconds = 20 if full_drill else 1
    nginx.files.joinpath("page").write_text("page")
    for pid in family(nginx.process.pid):
        os.sched_setaffinity(pid, {LAST_CORE})
    limits = f"worker_count = 1\noverload_lag = 5\n{QUIET}"
    proxy = start_proxy(http_proxy(free_port(), nginx.port, before=limits), prefix=["taskset", "-c", "0"])

    def load(rate: float, seconds: float) -> Outcome:
        each, asking = rate / TIMES, ["/page", str(TIMES)]
        with arriving(proxy.port, rate=each, seconds=seconds, source=60, asking=asking, core=LAST_CORE) as clients:
            outcome = clients.outcome()
        assert outcome.served.number / TIMES + outcome.refused.number == outcome.offered, outcome
        return outcome

    best = at_best(lambda rate: load(rate, seconds / 4).in_time / (seconds / 4))
    found = compare(best, seconds, load, lambda: shed(proxy))
    best, half, twice = found.best, found.half, found.twice
    goodput = twice.in_time / seconds
    print(
        f"\nat best {best:.0f}/s; at half p99 {half.served.p99:.1f} ms ({half.refused.number} refused); at twice for "
        f"{seconds} s {goodput:.0f}/s = {100 * goodput / best:.0f} %, p50 {twice.served.p50:.1f}, p99 "
        f"{twice.served.p99:.1f} ms = {twice.served.p99 / half.served.p99:.1f} times; {twice.refused.number} refused, "
        f"p99 {twice.refused.p99:.1f} ms; arrivals late by {twice.late:.0f} ms at most; {busy()}"
    )
    assert found.shed == twice.refused.number
    assert "Traceback" not in proxy.output()
    wait_until(lambda: sessions(proxy) == 0)
    if full_drill:
        assert twice.refused.number > 0
        assert goodput <= VOID * best, "void: the machine has too much else to do"
        assert goodput >= GOODPUT * best
        assert twice.served.p99 <= SLOWER * half.served.p99


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """What half and twice of `best` a second came to; `shed`: how many of twice as much the proxy says it refused."""

    best: float
    half: Outcome
    twice: Outcome
    shed: int


def compare(
    best: float,
    seconds: float,
    load: Callable[[float, float], Outcome],
    shed: Callable[[], int],
    attempts: int = 3,
) -> Compared:
    """Measure; and again, where twice as much was not too much: it was not at its best when that was measured."""
    half = load(best / 2, seconds / 2)
    before = shed()
    twice = load(2 * best, seconds)
    goodput = twice.in_time / seconds
    if attempts > 1 and goodput > VOID * best:
        return compare(goodput, seconds, load, shed, attempts - 1)
    return Compared(best=best, half=half, twice=twice, shed=shed() - before)


def at_best(goodput: Callable[[float], float]) -> float:
    """The most that is done in a second, for which more and more are asked for until it has been too much twice in a
    row, as the first time may have been a moment of others; `goodput(rate)` is what is done of `rate` a second.
    """
    best, rate, too_much = 0.0, LOWEST, 0
    while too_much < 2:
        done = goodput(rate)
        too_much = too_much + 1 if done < SATED * rate else 0
        best = max(best, done)
        rate *= STEP
    return best


LOWEST = 1000.0
"""Requests a second to begin with."""
STEP = 1.5
"""From one rate to the next."""
SATED = 0.9
"""Less of what is asked for is done when it is too much."""
VOID = 1.2
"""Times by which goodput under overload may pass the best one: more is noise of the machine."""
LAST_CORE = max(os.sched_getaffinity(0))
