"""A worker near its memory, by a real process: the idle leave, nobody is let in, and afterwards all is as before."""

import socket
from functools import partial
from pathlib import Path

from benchmarks.ports import free_port
from benchmarks.processes import PAGE, family
from tests.e2e.clients import connect, curl, receive_all
from tests.e2e.configurations import PATIENT, http_proxy
from tests.e2e.control import ctl, ctl_json
from tests.e2e.parts import Nginx, Proxy, StartProxy, wait_until
from tests.e2e.test_limits import crowd, sessions

ALONE = f"worker_count = 1\nmax_memory = 0\n{PATIENT}"
IDLE = 40


def resident(proxy: Proxy) -> int:
    """Bytes of its one worker."""
    (worker,) = set(family(proxy.pid)) - {proxy.pid}
    return int(Path(f"/proc/{worker}/statm").read_text().split()[1]) * PAGE


def allow(proxy: Proxy, number: int) -> None:
    """Bytes, from now on."""
    lines = proxy.file.read_text().splitlines()
    at = next(index for index, line in enumerate(lines) if line.startswith("max_memory"))
    lines[at] = f"max_memory = {number}"
    proxy.file.write_text("\n".join(lines))
    ctl(proxy, "reload")


def counter(proxy: Proxy, name: str) -> int:
    number: int = ctl_json(proxy, "metrics", "get")["total"][name]
    return number


def has_accepted(proxy: Proxy, clients: int) -> bool:
    return counter(proxy, "listener.accepted.total") >= clients


def sheds(proxy: Proxy) -> list[str]:
    (worker,) = ctl_json(proxy, "status")["workers"]
    found: list[str] = worker["sheds"]
    return found


def test_near_its_limit_the_idle_leave_and_at_it_nobody_is_let_in(nginx: Nginx, start_proxy: StartProxy) -> None:
    nginx.files.joinpath("page").write_text("page")
    proxy = start_proxy(http_proxy(free_port(), nginx.port, before=ALONE))
    with crowd(proxy.port) as clients:
        clients.come(IDLE)
        wait_until(lambda: sessions(proxy) == IDLE)
        allow(proxy, int(resident(proxy) / 0.9))
        wait_until(lambda: counter(proxy, "sessions.evicted") > 0)
        assert curl(f"http://127.0.0.1:{proxy.port}/page").body == b"page"
        allow(proxy, int(resident(proxy) * 0.8))
        wait_until(lambda: sheds(proxy) == ["memory"])
        wait_until(lambda: sessions(proxy) == 0)
        with connect(proxy.port) as refused:
            assert receive_all(refused).startswith(b"HTTP/1.1 503")
        assert counter(proxy, "listener.shed.memory") == 1
        allow(proxy, 0)
        wait_until(lambda: sheds(proxy) == [])
        assert curl(f"http://127.0.0.1:{proxy.port}/page").body == b"page"
    assert proxy.output().count("memory is short: nobody is let in") == 1


def test_idle_clients_make_room_for_new_ones(nginx: Nginx, start_proxy: StartProxy) -> None:
    """Nobody has to be turned away; a client with a request under way is none that could leave."""
    nginx.files.joinpath("page").write_text("page")
    limits = f"{ALONE}max_connections = 5\nevict_on_queue_full = true"
    proxy = start_proxy(http_proxy(free_port(), nginx.port, before=limits))
    with connect(proxy.port) as busy:
        busy.sendall(b"GET /page HT")
        idle: list[socket.socket] = []
        for number in range(12):
            idle.append(connect(proxy.port))
            wait_until(partial(has_accepted, proxy, number + 2))
        assert [receive_all(each) for each in idle[:8]] == [b""] * 8
        assert curl(f"http://127.0.0.1:{proxy.port}/page").body == b"page"
        busy.sendall(b"TP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert receive_all(busy).endswith(b"page")
        for each in idle:
            each.close()
    assert counter(proxy, "listener.connection_capped") == 0
    assert counter(proxy, "sessions.evicted") == 9
