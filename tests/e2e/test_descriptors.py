"""Out of descriptors: the proxy neither dies nor spins, helps itself where it can, and recovers when clients leave."""

import contextlib
import resource
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from benchmarks.processes import TICKS, cpu_ticks
from tests.e2e.clients import connect, curl, read_wrk, receive_all, start_wrk
from tests.e2e.configurations import PATIENT, http_proxy
from tests.e2e.control import ctl_json
from tests.e2e.parts import Nginx, Proxy, StartProxy, require, wait_until

DESCRIPTORS = 64
CLIENTS = 100
SPINNING = 0.2
"""Of a core: more than this is no rest."""
RECOVERED = 2.0
"""Seconds after which a page comes when those have left who filled it."""
"""Clients take as long as they like."""


def start(nginx: Nginx, start_proxy: StartProxy) -> Proxy:
    """A proxy with a page, which lets clients take as long as they like."""
    nginx.files.joinpath("page").write_text("page")
    return start_proxy(http_proxy(free_port(), nginx.port, before=f"worker_count = 1\n{PATIENT}"))


def worker_of(proxy: Proxy) -> int:
    """The pid of its one worker."""
    (worker,) = ctl_json(proxy, "status")["workers"]
    pid: int = worker["pid"]
    return pid


def lower(proxy: Proxy, descriptors: int = DESCRIPTORS) -> None:
    """While it runs its worker is left with so few."""
    resource.prlimit(worker_of(proxy), resource.RLIMIT_NOFILE, (descriptors, descriptors))


@contextlib.contextmanager
def many_clients(port: int, say: bytes, many: int = CLIENTS) -> Iterator[list[socket.socket]]:
    """So many connections; the kernel takes them, whether the proxy does or not."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _ in range(many)]
        for client in clients:
            client.sendall(say)
        yield clients


def of_worker(proxy: Proxy) -> int:
    """How many descriptors its one worker has open."""
    return len(list(Path(f"/proc/{worker_of(proxy)}/fd").iterdir()))


def complaints(proxy: Proxy) -> int:
    """How often it has said that it cannot accept: at most once a second."""
    return proxy.output().count("cannot accept: Too many open files")


def cpu(proxy: Proxy) -> float:
    """Seconds its worker has had so far."""
    return cpu_ticks(worker_of(proxy)) / TICKS


def test_full_of_busy_clients(nginx: Nginx, start_proxy: StartProxy) -> None:
    proxy = start(nginx, start_proxy)
    before = proxy.descriptors()
    lower(proxy)
    with many_clients(proxy.port, b"GET /page HT"):  # the rest of the request never comes
        wait_until(lambda: complaints(proxy) > 0 and of_worker(proxy) >= DESCRIPTORS - 2)
        said, used, begun = complaints(proxy), proxy.process.cpu_seconds(), time.monotonic()
        wait_until(lambda: complaints(proxy) > said + 1)
        assert proxy.process.cpu_seconds() - used < (time.monotonic() - begun) / 4
    assert curl(f"http://127.0.0.1:{proxy.port}/page").body == b"page"
    wait_until(lambda: proxy.descriptors() <= before + 3)


def test_full_of_idle_clients(nginx: Nginx, start_proxy: StartProxy) -> None:
    proxy = start(nginx, start_proxy)
    lower(proxy)
    with many_clients(proxy.port, b"") as clients:
        assert receive_all(clients[0]) == b""  # who has waited longest makes room
        assert curl(f"http://127.0.0.1:{proxy.port}/page").body == b"page"
    assert complaints(proxy) > 0


@pytest.mark.drill
def test_lowered_under_load(nginx: Nginx, start_proxy: StartProxy, *, full_drill: bool) -> None:
    """Fewer than are open already: clients with requests under way are served on, and all is well when they leave."""
    seconds, many = (10, 1000) if full_drill else (2, 2 * CLIENTS)
    proxy = start(nginx, start_proxy)
    resting, worker = proxy.descriptors(), worker_of(proxy)
    loading = start_wrk(f"http://127.0.0.1:{proxy.port}/page", connections=32, seconds=seconds)
    wait_until(lambda: of_worker(proxy) > 32)
    lower(proxy, DESCRIPTORS // 2)
    with many_clients(proxy.port, b"GET /page HT", many):
        load = read_wrk(loading, seconds)
        wait_until(lambda: complaints(proxy) > 0)
        used, begun = cpu(proxy), time.monotonic()
        time.sleep(seconds)  # how much it does while it is full is the drill
        share = (cpu(proxy) - used) / (time.monotonic() - begun)
        full = of_worker(proxy)
    wait_until(lambda: proxy.descriptors() <= resting + 3)
    began = time.monotonic()
    assert curl(f"http://127.0.0.1:{proxy.port}/page").body == b"page"
    waited = time.monotonic() - began
    print(
        f"\n{load.requests} requests under way, {len(load.errors)} kinds of errors; {100 * share:.1f} % of a core "
        f"with {full} descriptors and {many} clients waiting; served {waited:.2f} s after they left"
    )
    assert load.requests > 100
    assert share < SPINNING
    if full_drill:
        assert waited < RECOVERED
    assert worker_of(proxy) == worker
    assert "Traceback" not in proxy.output()


def test_what_is_there_at_the_start_is_what_counts(nginx: Nginx, start_proxy: StartProxy) -> None:
    limited = [require("bash"), "-c", 'ulimit -n 1000 && exec "$@"', "limited"]
    proxy = start_proxy(http_proxy(free_port(), nginx.port), prefix=limited)
    assert {each["max_connections"] for each in ctl_json(proxy, "status")["workers"]} == {215}
    assert "max_connections: not set: 215 instead of 10000" in proxy.output()
    proxy.file.write_text("max_connections = 215\n" + proxy.file.read_text())
    ctl_json(proxy, "reload")
