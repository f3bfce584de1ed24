"""Limits that all workers together keep, by real processes."""

import os
import select
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.ports import free_port
from tests.e2e.clients import connect
from tests.e2e.configurations import PATIENT, http_proxy
from tests.e2e.control import ctl, ctl_json
from tests.e2e.parts import Nginx, Proxy, StartProxy, wait_until
from tests.e2e.test_adoption import lives

WORKERS = 2
MOST = 20
LIMIT = f"worker_count = {WORKERS}\nmax_connections_total = {MOST}\n{PATIENT}"


class Crowd:
    """Clients that connect and stay for as long as they may."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.members: list[socket.socket] = []

    def come(self, many: int) -> None:
        self.members += [connect(self._port) for _ in range(many)]

    def held(self, refused: int) -> list[socket.socket]:
        """Those that are let in, once `refused` of them have been turned away."""

        def turned_away() -> list[socket.socket]:
            readable, _, _ = select.select(self.members, [], [], 0)
            return readable

        wait_until(lambda: len(turned_away()) >= refused)
        for each in turned_away():
            assert each.recv(100).startswith(b"HTTP/1.1 503")
            each.close()
            self.members.remove(each)
        return self.members

    def leave(self) -> None:
        for each in self.members:
            each.close()
        self.members.clear()


@contextmanager
def crowd(port: int) -> Iterator[Crowd]:
    found = Crowd(port)
    try:
        yield found
    finally:
        found.leave()


def sessions(proxy: Proxy) -> int:
    return sum(each["sessions"] for each in ctl_json(proxy, "status")["workers"])


def test_all_workers_together_hold_so_many(start_proxy: StartProxy, nginx: Nginx) -> None:
    """Two that look at the same moment may let one too many in; here they come one after the other."""
    port = free_port()
    proxy = start_proxy(http_proxy(port, nginx.port, before=LIMIT))
    with crowd(port) as clients:
        clients.come(3 * MOST)
        assert len(clients.held(refused=2 * MOST - (WORKERS - 1))) in range(MOST, MOST + WORKERS)
        proxy.file.write_text(proxy.file.read_text().replace(str(MOST), str(2 * MOST), 1))
        ctl(proxy, "reload")
        held = len(clients.members)
        clients.come(2 * MOST)
        assert len(clients.held(refused=held - (WORKERS - 1))) in range(2 * MOST, 2 * MOST + WORKERS)
    wait_until(lambda: sessions(proxy) == 0)
    with crowd(port) as clients:
        clients.come(2 * MOST)
        wait_until(lambda: sessions(proxy) == 2 * MOST)


def test_who_was_served_by_a_worker_that_died_takes_no_place(start_proxy: StartProxy, nginx: Nginx) -> None:
    port = free_port()
    proxy = start_proxy(http_proxy(port, nginx.port, before=LIMIT))
    with crowd(port) as clients:
        clients.come(MOST)
        wait_until(lambda: sessions(proxy) == MOST)
        for each in ctl_json(proxy, "status")["workers"]:
            os.kill(each["pid"], signal.SIGKILL)
        clients.leave()
        clients.come(2 * MOST)
        assert len(clients.held(refused=MOST - (WORKERS - 1))) in range(MOST, MOST + WORKERS)


def test_the_limit_holds_while_main_is_away_and_for_the_next_main(tmp_path: Path, nginx: Nginx) -> None:
    with lives(tmp_path, nginx.port, before=LIMIT) as main, crowd(main.port) as clients:
        proxy = main.start()
        clients.come(MOST // 2)
        wait_until(lambda: sessions(proxy) == MOST // 2)
        main.kill()
        clients.come(MOST)
        assert len(clients.held(refused=MOST // 2 - (WORKERS - 1))) in range(MOST, MOST + WORKERS)
        proxy = main.start()
        os.kill(ctl_json(proxy, "status")["workers"][0]["pid"], signal.SIGKILL)
        wait_until(lambda: sessions(proxy) < MOST - 1)
        left = sessions(proxy)
        wait_until(lambda: all(each["state"] == "running" for each in ctl_json(proxy, "status")["workers"]))
        clients.come(MOST)
        wait_until(lambda: sessions(proxy) in range(MOST, MOST + WORKERS))
        assert left < MOST
