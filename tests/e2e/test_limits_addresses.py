"""Limits per client address that all workers keep together, by real processes."""

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from benchmarks.ports import free_port
from tests.e2e.clients import connect
from tests.e2e.configurations import http_proxy
from tests.e2e.control import ctl, ctl_json
from tests.e2e.parts import Nginx, Proxy, StartProxy, wait_until

WORKERS = 3
MOST = 10
LIMIT = f"worker_count = {WORKERS}\nretry_after = 9\n"
GET = b"GET /page HTTP/1.1\r\nHost: a.example\r\n\r\n"


@pytest.fixture
def page(nginx: Nginx) -> int:
    """The port of a backend that has one."""
    nginx.files.joinpath("page").write_text("page")
    return nginx.port


def status(sock: socket.socket) -> int:
    sock.sendall(GET)
    return int(sock.recv(65536).split(b" ", 2)[1])


@contextmanager
def crowd(port: int, many: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(connect(port)) for _ in range(many)]


def served(port: int, many: int) -> int:
    """Of `many` connections at once those whose request is; the others are answered 429."""
    with crowd(port, many) as clients:
        found = [status(each) for each in clients]
    assert set(found) <= {200, 429}
    return found.count(200)


def nobody_is_left(proxy: Proxy) -> None:
    wait_until(lambda: sum(each["sessions"] for each in ctl_json(proxy, "status")["workers"]) == 0)


def test_one_address_in_a_cluster_over_all_workers(start_proxy: StartProxy, page: int) -> None:
    port = free_port()
    proxy = start_proxy(http_proxy(port, page, before=f"{LIMIT}max_connections_per_ip = {MOST}"))
    for _ in range(2):
        assert served(port, 3 * MOST) == MOST, "one after the other, so that the limit is exact"
        nobody_is_left(proxy)
    ctl(proxy, "connection-limit", "set", str(2 * MOST))
    assert ctl_json(proxy, "connection-limit", "show")["limit"] == 2 * MOST
    assert served(port, 3 * MOST) == 2 * MOST
    nobody_is_left(proxy)
    ctl(proxy, "connection-limit", "remove")
    assert served(port, 3 * MOST) == 3 * MOST


def test_connections_keep_their_places_when_workers_are_replaced(start_proxy: StartProxy, page: int) -> None:
    port = free_port()
    proxy = start_proxy(http_proxy(port, page, before=f"{LIMIT}max_connections_per_ip = {MOST}"))
    with crowd(port, MOST) as clients:
        assert {status(each) for each in clients} == {200}
        ctl_json(proxy, "upgrade")
        assert served(port, 2) == 0
        assert {status(each) for each in clients} == {200}
    nobody_is_left(proxy)
    assert served(port, 2 * MOST) == MOST


def test_one_address_at_the_door(start_proxy: StartProxy, page: int) -> None:
    port = free_port()
    proxy = start_proxy(http_proxy(port, page, before=f"{LIMIT}max_connections_per_source = {MOST}"))
    with crowd(port, MOST) as clients:
        assert {status(each) for each in clients} == {200}
        with connect(port) as refused:
            head = refused.recv(65536).partition(b"\r\n\r\n")[0]
            assert head.startswith(b"HTTP/1.1 429")
            assert b"Retry-After: 9" in head
    nobody_is_left(proxy)
    assert served(port, MOST) == MOST


def test_one_address_asks_so_often_over_all_workers(start_proxy: StartProxy, page: int) -> None:
    """However fast or slow this machine is: the burst, what the time has brought, and one for each worker at most."""
    port, rate, burst = free_port(), 5, 20
    limits = f"max_requests_per_ip = {rate}\nmax_requests_per_ip_burst = {burst}"
    start_proxy(http_proxy(port, page, before=f"{LIMIT}{limits}"))
    with crowd(port, 12) as clients:
        begun = time.monotonic()
        found = [status(each) for _ in range(8) for each in clients]
        lasted = time.monotonic() - begun
    assert set(found) == {200, 429}
    assert burst <= found.count(200) <= burst + rate * lasted + WORKERS
