"""A crowd that connects to an https listener and says nothing, or not enough: nobody else is delayed, and it goes."""

import contextlib
import socket
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.fuzz_hellos import VERSIONS, client_context, hello
from sozu_trio.proxy.proxy import SWEEP_PERIOD
from tests.e2e.clients import PATIENCE, connect, get, receive_until
from tests.e2e.parts import Nginx, StartProxy, wait_until
from tests.e2e.secure import Authority, connect_tls, https_proxy

ASKED = 40
"""Requests, each with a handshake of its own, of which the median is taken."""
SLOWER = 5.0
"""Times as long as without the crowd a request may take beside it, on a machine with other work."""
GROWTH = 4 << 20
"""Bytes that more crowds may leave behind, after the first half of them has."""
REST = 3 * SWEEP_PERIOD
"""Seconds after which a worker has seen that most of a crowd has left, and given back what is free."""
LEFT_OVER = 8
"""Descriptors that may have come: connections to backends kept for reuse."""


@contextlib.contextmanager
def crowd(port: int, count: int) -> Iterator[list[socket.socket]]:
    """In turn: who says nothing, begins a hello, or says all of it and no more."""
    whole = hello(client_context(VERSIONS[1]), "localhost")
    with contextlib.ExitStack() as stack:
        socks = []
        for number in range(count):
            sock = stack.enter_context(connect(port))
            sock.sendall((b"", whole[:100], whole)[number % 3])
            socks.append(sock)
        yield socks


def median_of_requests(port: int, authority: Authority) -> float:
    """Seconds, handshake included."""
    context, took = authority.context, []
    for _ in range(ASKED):
        began = time.monotonic()
        with connect_tls(port, context) as client:
            client.sendall(get("/page"))
            assert receive_until(client, b"page\n").startswith(b"HTTP/1.1 200")
        took.append(time.monotonic() - began)
    return statistics.median(took)


def are_closed(socks: list[socket.socket]) -> bool:
    """Whether the proxy has ended all of them, reading what it still says."""
    return all(is_closed(sock) for sock in socks)


def is_closed(sock: socket.socket) -> bool:
    sock.setblocking(False)
    try:
        while sock.recv(65536):
            pass
    except BlockingIOError:
        return False
    except ConnectionResetError:
        pass
    return True


@pytest.mark.drill
def test_who_stops_in_the_middle_of_a_handshake_delays_nobody(
    nginx: Nginx, start_proxy: StartProxy, tmp_path: Path, full_drill: bool
) -> None:
    authority = Authority(tmp_path / "authority")
    nginx.files.joinpath("page").write_text("a page\n")
    files = authority.write("default", "localhost", "127.0.0.1")
    count, rounds, deadline = (1000, 6, 5) if full_drill else (100, 3, 2)
    lines = f"{files.lines}\nrequest_timeout = {deadline}"
    proxy = start_proxy(https_proxy(nginx.port, lines, before="worker_count = 1"))
    median_of_requests(proxy.port, authority)
    resting, sizes, ratios = proxy.descriptors(), [], []
    for _ in range(rounds):
        alone = median_of_requests(proxy.port, authority)
        began = time.monotonic()
        with crowd(proxy.port, count) as socks:
            connected = time.monotonic()
            beside = median_of_requests(proxy.port, authority)
            wait_until(lambda socks=socks: are_closed(socks), deadline + PATIENCE)  # type: ignore[misc]
            gone = time.monotonic()
        wait_until(lambda: proxy.descriptors() <= resting + LEFT_OVER)
        if full_drill:
            time.sleep(REST)
        sizes.append(proxy.rss())
        ratios.append(beside / alone)
        print(f"\n{count} that stop: there in {connected - began:.1f} s, gone {gone - connected:.1f} s later;", end=" ")
        print(f"a request takes {alone * 1000:.1f} ms alone, {beside * 1000:.1f} ms beside them;", end=" ")
        print(f"{sizes[-1] / (1 << 20):.1f} MiB afterwards")
    assert min(ratios) < SLOWER
    assert sizes[-1] - sizes[rounds // 2] < GROWTH
    assert "Traceback" not in proxy.output() + proxy.errors()
