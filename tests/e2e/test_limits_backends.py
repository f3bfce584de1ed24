"""Limits of connections to backends that all workers keep together, by real processes."""

import socket
import threading
import time

from benchmarks.ports import free_port
from tests.e2e.clients import wrk
from tests.e2e.configurations import http_proxy
from tests.e2e.control import ctl_json
from tests.e2e.parts import StartProxy, wait_until
from tests.e2e.servers import serving

WORKERS = 2
MOST = 4
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Busy:
    """A backend that takes a moment for each request, and sees how many connections it has at once."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    def __call__(self, sock: socket.socket) -> None:
        self._count(1)
        try:
            while sock.recv(65536):
                time.sleep(0.005)
                sock.sendall(OK)
        finally:
            self._count(-1)

    def _count(self, change: int) -> None:
        with self._lock:
            self.now += change
            self.most = max(self.most, self.now)


def test_a_backend_has_no_more_than_it_may_and_everybody_is_served(start_proxy: StartProxy) -> None:
    busy, port = Busy(), free_port()
    limit = f"max_connections = {MOST}\nqueue_timeout = 30"
    with serving(busy) as backend:
        proxy = start_proxy(http_proxy(port, backend, before=f"worker_count = {WORKERS}", cluster=limit))
        load = wrk(f"http://127.0.0.1:{port}/", connections=40, seconds=3)
        assert load.errors == []
        assert load.requests > 100
        wait_until(lambda: busy.now <= MOST)
        total = ctl_json(proxy, "metrics", "get")["total"]
    # One that is closed here may be seen there after the next has come.
    assert busy.most <= 2 * MOST
    assert total["backend.queue.total"] > 0
    assert (total["backend.queue.waiting"], total["backend.queue.refused"]) == (0, 0)
