"""Under a service manager: what it is told, the sockets it hands over, and nothing of both for workers."""

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from benchmarks.processes import ProcessTrouble, family
from tests.e2e.clients import connect, curl, get, receive_all
from tests.e2e.configurations import http_proxy
from tests.e2e.control import ctl, ctl_json
from tests.e2e.managers import Manager
from tests.e2e.parts import Nginx, Proxy, StartProxy, wait_until
from tests.e2e.servers import SlowAnswer, serving


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    with Manager(tmp_path / "managed") as made:
        yield made


@pytest.fixture
def sockets() -> Iterator[list[socket.socket]]:
    """Two that listen, as systemd makes them."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]


def port_of(sock: socket.socket) -> int:
    port: int = sock.getsockname()[1]
    return port


def reload_told(manager: Manager, since: int) -> None:
    """Hear of one reload; it began after `since`, microseconds of CLOCK_MONOTONIC."""
    _, moment = manager.hear("RELOADING=1")
    name, value = moment.split("=")
    assert name == "MONOTONIC_USEC"
    assert since <= int(value) <= time.monotonic_ns() // 1000
    manager.hear("READY=1")


def test_it_is_told_all_the_way(manager: Manager) -> None:
    slow = SlowAnswer()
    with serving(slow) as backend:
        port = free_port()
        with contextlib.closing(manager.start(http_proxy(port, backend))) as proxy:
            status = f"STATUS=generation 1, listening on 127.0.0.1:{port}"
            assert manager.hear("READY=1") == ["READY=1", f"MAINPID={proxy.pid}", status]
            begun = time.monotonic_ns() // 1000
            proxy.send_signal(signal.SIGHUP)
            reload_told(manager, begun)
            begun = time.monotonic_ns() // 1000
            assert ctl(proxy, "reload").code == 0
            reload_told(manager, begun)
            written = proxy.file.read_text()
            proxy.file.write_text("mistake = 1")
            proxy.send_signal(signal.SIGHUP)
            reload_told(manager, begun)
            proxy.file.write_text(written)
            ctl_json(proxy, "listener", "deactivate", "--address", f"127.0.0.1:{port}")
            manager.hear("STATUS=generation 2, listening on nothing")
            ctl_json(proxy, "listener", "activate", "--address", f"127.0.0.1:{port}")
            manager.hear(f"STATUS=generation 3, listening on 127.0.0.1:{port}")
            with connect(port) as client:
                client.sendall(get())
                assert slow.asked.wait(20)
                proxy.send_signal(signal.SIGTERM)
                manager.hear("STOPPING=1")
                manager.hear("STATUS=stopping, 1 session left")
                assert manager.hear("EXTEND_TIMEOUT_USEC=")[0] == "EXTEND_TIMEOUT_USEC=10000000"
                slow.answer.set()
                assert receive_all(client).endswith(b"slow")
            assert proxy.wait() == 0
            assert not any("READY=1" in lines for lines in manager.hear_the_rest())


@pytest.mark.parametrize(
    ("stop", "code"),
    [
        (lambda proxy: proxy.send_signal(signal.SIGTERM), 0),
        (lambda proxy: proxy.send_signal(signal.SIGINT), 0),
        (lambda proxy: ctl(proxy, "shutdown"), 0),
        (lambda proxy: ctl(proxy, "shutdown", "--hard"), 0),
        (lambda proxy: os.kill(family(proxy.pid)[1], signal.SIGKILL), 1),
    ],
    ids=["SIGTERM", "SIGINT", "shutdown", "hard", "no worker left"],
)
def test_it_is_told_of_every_stop(manager: Manager, stop: Callable[[Proxy], object], code: int) -> None:
    config = http_proxy(free_port(), 1, before="worker_count = 1\nworker_automatic_restart = false")
    with contextlib.closing(manager.start(config)) as proxy:
        stop(proxy)
        assert proxy.wait() == code
    assert [lines[0] for lines in manager.hear_the_rest() if "STOPPING=1" in lines] == ["STOPPING=1"]


def test_the_watchdog_is_fed(manager: Manager) -> None:
    with contextlib.closing(manager.start(http_proxy(free_port(), 1), watchdog=100_000)):
        manager.hear("READY=1")
        for _ in range(5):
            manager.hear("WATCHDOG=1")
        manager.hear_the_rest()


def test_workers_know_nothing_of_it(manager: Manager, sockets: list[socket.socket]) -> None:
    config = http_proxy(port_of(sockets[0]), 1)
    with contextlib.closing(manager.start(config, sockets[:1], watchdog=1_000_000)) as proxy:
        workers = set(family(proxy.pid)) - {proxy.pid}
        assert len(workers) == 2
        for worker in workers:
            names = {line.partition(b"=")[0] for line in Path(f"/proc/{worker}/environ").read_bytes().split(b"\0")}
            assert b"PATH" in names
            assert not {name for name in names if name.startswith((b"LISTEN_", b"NOTIFY_", b"WATCHDOG_"))}


def test_a_manager_that_does_not_listen_is_told_of_once(start_proxy: StartProxy, tmp_path: Path) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "nobody"), "WATCHDOG_USEC": "20000"}
    proxy = start_proxy(http_proxy(free_port(), 1), environment=environment)
    wait_until(lambda: "the service manager cannot be told anything at" in proxy.output())
    assert ctl(proxy, "reload").code == 0
    assert proxy.stop() == 0
    assert proxy.output().count("the service manager cannot be told") == 1


def test_sockets_handed_over_serve_all_workers_and_outlive_them(
    manager: Manager, nginx: Nginx, sockets: list[socket.socket]
) -> None:
    nginx.files.joinpath("page").write_text("page")
    sock, _ = sockets
    port = port_of(sock)
    config = http_proxy(port, nginx.port, before="worker_count = 2")
    with connect(port) as early:
        early.sendall(get("/page"))
        with contextlib.closing(manager.start(config, [sock])) as proxy:
            assert receive_page(early)
            assert [curl(f"http://127.0.0.1:{port}/page").body for _ in range(20)] == [b"page"] * 20
            address = f"127.0.0.1:{port}"
            ctl_json(proxy, "listener", "deactivate", "--address", address)
            with connect(port) as waiting:
                waiting.sendall(get("/page"))
                ctl_json(proxy, "listener", "activate", "--address", address)
                assert receive_page(waiting)
            assert f"no longer listening on tcp {address}; its socket was handed over and stays open" in proxy.output()
            victim = ctl_json(proxy, "status")["workers"][0]["pid"]
            os.kill(victim, signal.SIGKILL)
            wait_until(lambda: victim not in [each["pid"] for each in ctl_json(proxy, "status")["workers"]])
            assert curl(f"http://127.0.0.1:{port}/page").body == b"page"
            assert proxy.stop() == 0
    # The next one serves who came in between.
    with connect(port) as between:
        between.sendall(get("/page"))
        with contextlib.closing(manager.start(config, [sock])):
            assert receive_page(between)


def receive_page(sock: socket.socket) -> bool:
    answer = b""
    while not answer.endswith(b"page"):
        received = sock.recv(4096)
        assert received, answer
        answer += received
    return answer.startswith(b"HTTP/1.1 200")


def test_one_that_no_listener_wants_is_refused(manager: Manager, sockets: list[socket.socket]) -> None:
    first, second = sockets
    said = f"listens on 127.0.0.1:{port_of(second)}, where no listener stands; want .*127.0.0.1:{port_of(first)}"
    with pytest.raises(ProcessTrouble, match=said):
        manager.start(http_proxy(port_of(first), 1), sockets)
    assert manager.hear_the_rest() == []


def test_one_that_is_no_listening_tcp_socket_is_refused(manager: Manager) -> None:
    with socket.socket() as deaf, pytest.raises(ProcessTrouble, match=r"descriptor 3 \(web\): .* does not listen"):
        manager.start(http_proxy(free_port(), 1), [deaf])
