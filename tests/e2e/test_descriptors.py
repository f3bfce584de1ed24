"""Out of descriptors: the proxy neither dies nor spins, helps itself where it can, and recovers when clients leave."""

import contextlib
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks.processes import family, free_port
from sozu_trio.nursery.descriptors import most_of_worker
from tests.e2e.clients import connect, curl, receive_all
from tests.e2e.configurations import http_proxy
from tests.e2e.parts import Nginx, Proxy, StartProxy, require, wait_until

DESCRIPTORS = 64
CLIENTS = 100


def start(nginx: Nginx, start_proxy: StartProxy) -> Proxy:
    """A proxy whose main may have DESCRIPTORS open, and lets clients take as long as they like."""
    nginx.files.joinpath("page").write_text("page")
    config = http_proxy(free_port(), nginx.port, before="worker_count = 1\nfront_timeout = 0\nrequest_timeout = 0")
    limit = [require("bash"), "-c", f'ulimit -n {DESCRIPTORS} && exec "$@"', "limited"]
    return start_proxy(config, prefix=limit)


@contextlib.contextmanager
def many_clients(port: int, say: bytes) -> Iterator[list[socket.socket]]:
    """CLIENTS connections; the kernel takes them, whether the proxy does or not."""
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(port)) for _ in range(CLIENTS)]
        for client in clients:
            client.sendall(say)
        yield clients


def of_worker(proxy: Proxy) -> int:
    """How many descriptors its one worker has open."""
    (worker,) = set(family(proxy.pid)) - {proxy.pid}
    return len(list(Path(f"/proc/{worker}/fd").iterdir()))


def complaints(proxy: Proxy) -> int:
    """How often it has said that it cannot accept: at most once a second."""
    return proxy.output().count("cannot accept: Too many open files")


def test_full_of_busy_clients(nginx: Nginx, start_proxy: StartProxy) -> None:
    proxy = start(nginx, start_proxy)
    before = proxy.descriptors()
    with many_clients(proxy.port, b"GET /page HT"):  # the rest of the request never comes
        wait_until(lambda: complaints(proxy) > 0 and of_worker(proxy) >= most_of_worker(DESCRIPTORS) - 2)
        said, used, begun = complaints(proxy), proxy.process.cpu_seconds(), time.monotonic()
        wait_until(lambda: complaints(proxy) > said + 1)
        assert proxy.process.cpu_seconds() - used < (time.monotonic() - begun) / 4
    assert curl(f"http://127.0.0.1:{proxy.port}/page").body == b"page"
    wait_until(lambda: proxy.descriptors() <= before + 3)


def test_full_of_idle_clients(nginx: Nginx, start_proxy: StartProxy) -> None:
    proxy = start(nginx, start_proxy)
    with many_clients(proxy.port, b"") as clients:
        assert receive_all(clients[0]) == b""  # who has waited longest makes room
        assert curl(f"http://127.0.0.1:{proxy.port}/page").body == b"page"
    assert complaints(proxy) > 0
