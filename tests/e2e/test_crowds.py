"""More clients than there is room for, and more than there is time for: who is let in is served well, the others are
told at once, and afterwards all is as before.
"""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.arrivals import Latencies, Outcome
from benchmarks.processes import family, free_port
from tests.e2e.configurations import http_proxy
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
PATIENT = "front_timeout = 0\nrequest_timeout = 0"


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
    port: int, *, rate: float, seconds: float, source: int, path: str = "", core: int | None = None
) -> Iterator[Arriving]:
    """Clients at so many a second from 127.0.`source`.*; whoever is connected leaves when the body ends."""
    pinned = [] if core is None else ["taskset", "-c", str(core)]
    words = [str(port), str(rate), str(seconds), str(source), *([path] if path else [])]
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
    limits = f"worker_count = 2\nmax_connections_total = {room}\noverload_lag = 0\n{PATIENT}\n{QUIET}"
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
    """It has one core, all else the other."""
    seconds = 20 if full_drill else 1
    nginx.files.joinpath("page").write_text("page")
    for pid in family(nginx.process.pid):
        os.sched_setaffinity(pid, {LAST_CORE})
    limits = f"worker_count = 1\noverload_lag = 10\n{QUIET}"
    proxy = start_proxy(http_proxy(free_port(), nginx.port, before=limits), prefix=["taskset", "-c", "0"])

    def load(rate: float, seconds: float) -> Outcome:
        with arriving(proxy.port, rate=rate, seconds=seconds, source=60, path="/page", core=LAST_CORE) as clients:
            outcome = clients.outcome()
        assert outcome.served.number + outcome.refused.number == outcome.offered, outcome
        return outcome

    best = max(load(rate, seconds / 4).served.number / (seconds / 4) for rate in RATES)
    half = load(best / 2, seconds / 2)
    before = shed(proxy)
    twice = load(2 * best, seconds)
    goodput = twice.served.number / seconds
    print(
        f"\nat best {best:.0f}/s; at half p99 {half.served.p99:.1f} ms ({half.refused.number} refused); at twice for "
        f"{seconds} s {goodput:.0f}/s = {100 * goodput / best:.0f} %, p50 {twice.served.p50:.1f}, p99 "
        f"{twice.served.p99:.1f} ms = {twice.served.p99 / half.served.p99:.1f} times; {twice.refused.number} refused, "
        f"p99 {twice.refused.p99:.1f} ms; arrivals late by {twice.late:.0f} ms at most; {busy()}"
    )
    assert shed(proxy) - before == twice.refused.number
    assert "Traceback" not in proxy.output()
    wait_until(lambda: sessions(proxy) == 0)
    if full_drill:
        assert twice.refused.number > 0
        assert goodput >= GOODPUT * best
        assert twice.served.p99 <= SLOWER * half.served.p99


RATES = (1500, 3000, 4500, 6000)
"""Arrivals a second, among which that is where a worker does its best."""
LAST_CORE = max(os.sched_getaffinity(0))
