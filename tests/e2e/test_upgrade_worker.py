"""A worker is upgraded while clients of every kind are connected, and none of them notices."""

import contextlib
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from benchmarks.processes import family
from tests.e2e.clients import PATIENCE, connect, get, read_wrk, receive_all, receive_until, start_wrk
from tests.e2e.configurations import both_proxies, http_proxy
from tests.e2e.control import ctl, ctl_json
from tests.e2e.parts import Nginx, Proxy, StartProxy, wait_until
from tests.e2e.servers import SlowAnswer, serving, show_head
from tests.e2e.test_adoption import is_there, lives
from tests.e2e.test_worker_count import load, requests, serve_more
from tests.e2e.websocket import WebSocket, open_websocket, serve_echo

SLOW = """
[clusters.slow]
protocol = "http"
frontends = [{{ address = "127.0.0.1:{http}", hostname = "*", path = "/slow" }}]
backends = [{{ address = "127.0.0.1:{slow}" }}]
"""


@dataclass
class Site:
    """A proxy before backends of every kind."""

    proxy: Proxy
    slow: SlowAnswer

    @property
    def http(self) -> int:
        return self.proxy.ports[0]

    @property
    def tcp(self) -> int:
        return self.proxy.ports[1]

    def upgrade(self) -> list[dict[str, int]]:
        """Each worker in turn; what was said of each."""
        return [ctl_json(self.proxy, "upgrade", "--worker", str(number))["workers"][0] for number in range(2)]

    def leaving(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = ctl_json(self.proxy, "status")["leaving"]
        return found


def send_back(sock: socket.socket) -> None:
    while data := sock.recv(65536):
        sock.sendall(data)


@pytest.fixture
def site(start_proxy: StartProxy) -> Iterator[Site]:
    slow = SlowAnswer()
    http = free_port()
    with serving(show_head) as web, serving(serve_echo) as echo, serving(send_back) as relay, serving(slow) as later:
        config = both_proxies(
            http,
            free_port(),
            web=web,
            echo=echo,
            relay=relay,
            before="worker_count = 2\nrequest_timeout = 300",
            after=SLOW.format(http=http, slow=later),
        )
        yield Site(start_proxy(config), slow)
        slow.answer.set()


def ask(client: socket.socket, target: str) -> bytes:
    """A request on a connection that stays open."""
    client.sendall(get(target))
    answer = b""
    while answer.count(b"\r\n\r\n") < 2 and (data := client.recv(65536)):
        answer += data
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n"), answer
    assert b"onnection: close" not in answer
    return answer


def talk(sock: socket.socket, words: bytes) -> None:
    sock.sendall(words)
    assert receive_until(sock, words[-8:]) == words


@contextlib.contextmanager
def websockets(port: int, number: int) -> Iterator[list[WebSocket]]:
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(open_websocket(port, "/echo")) for _ in range(number)]


def access_lines(site: Site) -> int:
    return site.proxy.output().count(" INFO-ACCESS ")


def test_every_connection_goes_on_over_one_upgrade_after_another(site: Site) -> None:
    workers = {each["pid"] for each in ctl_json(site.proxy, "status")["workers"]}
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(connect(site.http)) for _ in range(20)]
        fresh = [stack.enter_context(connect(site.http)) for _ in range(5)]
        tunnels = stack.enter_context(websockets(site.http, 10))
        sessions = [stack.enter_context(connect(site.tcp)) for _ in range(10)]
        half = stack.enter_context(connect(site.tcp))
        for number in range(3):
            for client in idle:
                ask(client, f"/{number}")
            for client in sessions:
                talk(client, b"round %08d" % number)
            for tunnel in tunnels:
                tunnel.send_message(f"{number}")
                assert tunnel.receive() == f"{number}"
            talk(half, b"half %08d" % number)
            done = site.upgrade()
            assert sum(each["moved"] for each in done) == 20 + 5 + 10 + 10 + 1
            assert sum(each["left"] for each in done) == 0
            wait_until(lambda: site.leaving() == [])
        half.sendall(b"the end.")
        half.shutdown(socket.SHUT_WR)
        site.upgrade()
        assert receive_all(half) == b"the end."
        for client in (*idle, *fresh):
            ask(client, "/after")
        counted = ctl_json(site.proxy, "metrics", "get")["total"]
        assert counted["http.requests"] == 3 * 20 + 25 + 10
        assert not any(is_there(pid) for pid in workers)
        assert len(family(site.proxy.pid)) == 1 + 2
        assert not re.search(" ERROR (MAIN|WRK)", site.proxy.output())
        wait_until(lambda: access_lines(site) >= 3 * 20 + 25 + 1)
        assert access_lines(site) == 3 * 20 + 25 + 1


def test_a_request_that_runs_is_answered_by_the_worker_before_and_its_connection_goes_on(site: Site) -> None:
    with connect(site.http) as client:
        client.sendall(get("/slow"))
        assert site.slow.asked.wait(PATIENCE)
        done = site.upgrade()
        assert sum(each["left"] for each in done) == 1
        (leaving,) = site.leaving()
        assert leaving["sessions"] == 1
        assert leaving["state"] == "leaving"
        assert 0 < float(str(leaving["seconds_left"])) <= 300
        site.slow.answer.set()
        answer = receive_until(client, b"\r\n\r\nslow")
        assert answer.endswith(b"slow")
        assert b"onnection: close" not in answer
        wait_until(lambda: site.leaving() == [])
        ask(client, "/after")


def test_bytes_of_a_stream_are_all_there_and_in_order(site: Site) -> None:
    """The client sends more than all buffers hold, so bytes are everywhere on the way while workers change."""
    size = 64 << 20
    sent = os.urandom(1 << 20) * (size >> 20)
    with connect(site.tcp) as client:
        client.setblocking(False)
        received, view, upgrades = bytearray(), memoryview(sent), 0
        deadline = time.monotonic() + PATIENCE
        while len(received) < size:
            assert time.monotonic() < deadline
            with contextlib.suppress(BlockingIOError):
                view = view[client.send(view[:65536]) :]
            with contextlib.suppress(BlockingIOError):
                received += client.recv(65536)
            if len(received) > (upgrades + 1) * size // 5:
                upgrades += 1
                site.upgrade()
        assert received == sent
        assert upgrades == 4


def test_under_load_nobody_notices(nginx: Nginx, start_proxy: StartProxy) -> None:
    nginx.files.joinpath("page").write_text("page")
    proxy = start_proxy(http_proxy(free_port(), nginx.port, before="worker_count = 2"))
    loading = start_wrk(f"http://127.0.0.1:{proxy.port}/page", connections=32, seconds=6)
    with load(proxy.port, clients=2) as clients:
        for number in (0, 1, 0, 1):
            serve_more(clients)
            ctl_json(proxy, "upgrade", "--worker", str(number))
        serve_more(clients)
    found = read_wrk(loading, 6)
    assert clients.failures == []
    assert found.errors == []
    assert found.requests > 0
    # What wrk had under way when it ended was never answered to anybody.
    assert found.requests + clients.done <= requests(proxy) <= found.requests + clients.done + 32
    assert not re.search(" ERROR (MAIN|WRK)", proxy.output())


def test_what_is_left_is_cut_in_the_end_and_named(start_proxy: StartProxy) -> None:
    slow = SlowAnswer()
    with serving(slow) as backend:
        proxy = start_proxy(http_proxy(free_port(), backend, before="worker_count = 1\nupgrade_drain_timeout = 1"))
        with connect(proxy.port) as client:
            client.sendall(get("/"))
            assert slow.asked.wait(PATIENCE)
            ctl_json(proxy, "upgrade", "--worker", "0")
            assert receive_all(client) == b""
        wait_until(lambda: "has left: 1 session cut" in proxy.output())
        assert re.search(r"session \S+ \(http of 127\.0\.0\.1:\d+\) was cut: it could not move", proxy.output())
        slow.answer.set()


def test_one_that_drains_is_adopted_by_the_next_main(tmp_path: Path) -> None:
    slow = SlowAnswer()
    with serving(slow) as backend, lives(tmp_path, backend, before="worker_count = 1") as main:
        proxy = main.start()
        with connect(main.port) as client:
            client.sendall(get("/"))
            assert slow.asked.wait(PATIENCE)
            ctl_json(proxy, "upgrade", "--worker", "0")
            before = ctl_json(proxy, "status")
            main.kill()
            proxy = main.start()
            after = ctl_json(proxy, "status")
            assert [each["pid"] for each in after["workers"]] == [each["pid"] for each in before["workers"]]
            assert [each["pid"] for each in after["leaving"]] == [each["pid"] for each in before["leaving"]]
            assert 0 < after["leaving"][0]["seconds_left"] <= before["leaving"][0]["seconds_left"]
            slow.answer.set()
            assert receive_until(client, b"\r\n\r\nslow").endswith(b"slow")
            wait_until(lambda: ctl_json(proxy, "status")["leaving"] == [])


def test_a_worker_killed_in_the_middle_is_replaced(site: Site) -> None:
    """The one before as well as its successor: an upgrade ends in any case, and afterwards everybody is served."""
    for victim in ("workers", "leaving"):
        with connect(site.http) as client:
            client.sendall(get("/slow"))
            assert site.slow.asked.wait(PATIENCE)
            site.upgrade()
            for each in ctl_json(site.proxy, "status")[victim]:
                os.kill(each["pid"], signal.SIGKILL)
            wait_until(
                lambda: [each["state"] for each in ctl_json(site.proxy, "status")["workers"]] == ["running"] * 2, 20
            )
            with connect(site.http) as other:
                ask(other, "/page")
            site.slow.asked.clear()
        wait_until(lambda: site.leaving() == [], 30)


def test_a_worker_that_there_is_not(site: Site) -> None:
    run = ctl(site.proxy, "upgrade", "--worker", "9")
    assert (run.code, run.err) == (1, "worker: there is none with the id 9; there are 0, 1\n")
