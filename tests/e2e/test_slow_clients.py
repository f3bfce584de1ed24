"""A drill: clients that do one byte a second, beside others that must not notice, and all of the slow ones are cut."""

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchmarks.measure import Load, Work, load_kept
from benchmarks.ports import free_port
from benchmarks.processes import Process
from sozu_trio.config.limits import PAUSE
from sozu_trio.proxy.proxy import SWEEP_PERIOD
from sozu_trio.proxy.trimming import AGAIN
from tests.e2e.configurations import http_proxy
from tests.e2e.control import ctl_json
from tests.e2e.parts import Nginx, Proxy, StartProxy, wait_until

ROOT = Path(__file__).parents[2]
REQUEST_TIMEOUT = 5
BODY = b"hello"
LARGE = 8 << 20
"""Bytes, beyond what the kernels take."""
SLOWLY = """
[clusters.slowly]
protocol = "http"
frontends = [
    {{ address = "127.0.0.1:{port}", hostname = "*", path = "/large" }},
    {{ address = "127.0.0.1:{port}", hostname = "*", path = "/upload" }},
]
backends = [{{ address = "127.0.0.1:{backend}" }}]
"""
"""For these another backend: it is the proxy that is not to be felt."""
MEBIBYTE = 1 << 20
KEPT = 20 << 20
"""Bytes that main and two workers may keep of the first crowd: arenas of small objects in which something lives."""
MORE = 8 << 20
"""Bytes that they may keep of all later ones together."""
REST = AGAIN * SWEEP_PERIOD + 2
"""Seconds after which a worker has given back what the last of a crowd have left."""
LEFT_OVER = 64 + 8
"""Descriptors that may have come: pipes kept for splicing, and connections to backends kept for reuse."""


def load(port: int, seconds: int) -> Load:
    return load_kept(port, Work(path="/hello", connections=32, body=BODY, hosts=("localhost",)), seconds)


def beside_slow_clients(proxy: Proxy, folder: Path, count: int, seconds: int) -> tuple[Load, dict[str, Any]]:
    """wrk beside `count` slow clients; what it saw, and what they did."""
    command = [sys.executable, "-m", "benchmarks.slow_clients", str(proxy.port), str(count), str(seconds)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with Process(command, folder, name="slow_clients", environment=environment) as clients:
        wait_until(lambda: sessions(proxy) >= 0.7 * count)  # the first may have been cut before the last has come
        found = load(proxy.port, seconds)
        assert clients.wait(seconds + 60) == 0, clients.errors()
        return found, json.loads(clients.output())


def sessions(proxy: Proxy) -> int:
    return sum(each["sessions"] for each in ctl_json(proxy, "status")["workers"])


@pytest.mark.drill
def test_slow_clients(
    start_nginx: Callable[[str], Nginx], start_proxy: StartProxy, tmp_path: Path, *, full_drill: bool
) -> None:
    count, seconds, rounds, late = (1000, 30, 5, 10.0) if full_drill else (60, 3, 1, 15.0)
    nginx, patient, port = start_nginx(""), start_nginx("limit_rate 512k;"), free_port()
    nginx.files.joinpath("hello").write_bytes(BODY)
    patient.files.joinpath("large").write_bytes(bytes(LARGE))
    listener = f"min_body_rate = 10000\nrequest_timeout = {REQUEST_TIMEOUT}"
    # Where others want the cores, so many who come at once are an overload; here all of them are to be let in.
    before = 'access_logs_target = "file:///dev/null"\noverload_lag = 0'
    slowly = SLOWLY.format(port=port, backend=patient.port)
    proxy = start_proxy(http_proxy(port, nginx.port, listener=listener, before=before, cluster=slowly))
    load(proxy.port, seconds)  # what wrk alone makes it take, and what it takes to be asked, is not of the crowd
    sessions(proxy)
    resting, sizes, alone, beside = proxy.descriptors(), [proxy.rss()], [], []
    for number in range(rounds):
        alone.append(load(proxy.port, seconds).p99)
        found, seen = beside_slow_clients(proxy, tmp_path, count, seconds)
        beside.append(found.p99)
        wait_until(lambda: sessions(proxy) == 0)
        wait_until(lambda: proxy.descriptors() <= resting + LEFT_OVER)
        if full_drill:
            time.sleep(REST)
        most = sizes[0] + KEPT if number == 0 else sizes[1] + MORE
        wait_until(lambda most=most: proxy.rss() < most)  # type: ignore[misc]
        sizes.append(proxy.rss())
        print(
            f"\nround {number}: p99 alone {alone[-1]:.1f} ms, beside {count} slow clients {beside[-1]:.1f} ms;", end=" "
        )
        print(f"{sizes[-1] / MEBIBYTE:.1f} MiB after {sizes[0] / MEBIBYTE:.1f}; load {os.getloadavg()[0]:.1f}; {seen}")
        assert seen["head"]["ends"].keys() == {"408"}
        assert seen["body"]["ends"].keys() == {"408"}
        assert seen["reader"]["ends"].keys() == {"cut"}
        assert seen["head"]["longest"] < REQUEST_TIMEOUT + late
        assert max(seen["body"]["longest"], seen["reader"]["longest"]) < PAUSE + late
    quiet, felt = statistics.median(alone), statistics.median(beside)
    print(f"median p99: alone {quiet:.1f} ms, beside them {felt:.1f} ms")
    if full_drill:
        assert felt <= max(2 * quiet, quiet + 20)
