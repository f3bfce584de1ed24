"""What signals do: a soft stop loses no request, a second one cuts, logs are reopened, nothing else ends the proxy."""

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from tests.e2e.clients import connect, curl, get, receive_all, receive_until
from tests.e2e.configurations import http_proxy, tcp_proxy
from tests.e2e.parts import Nginx, Proxy, StartProxy, wait_until
from tests.e2e.servers import SlowAnswer, serving


@pytest.fixture
def slow() -> SlowAnswer:
    return SlowAnswer()


@pytest.fixture
def proxy(slow: SlowAnswer, start_proxy: StartProxy) -> Iterator[Proxy]:
    """Before a backend that answers when `slow` says so."""
    with serving(slow) as port:
        yield start_proxy(http_proxy(free_port(), port))


def refuses_connections(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT], ids=lambda sent: sent.name)
def test_soft_stop_waits_for_a_request(proxy: Proxy, slow: SlowAnswer, sent: signal.Signals) -> None:
    with connect(proxy.port) as client:
        client.sendall(get())
        assert slow.asked.wait(20)
        proxy.send_signal(sent)
        wait_until(lambda: refuses_connections(proxy.port))
        assert proxy.process.exit_code is None
        slow.answer.set()
        answer = receive_all(client)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Connection: close" in answer
    assert answer.endswith(b"slow")
    assert proxy.wait() == 0
    assert "sozu_trio stopped: 0 sessions cut\n" in proxy.output()
    assert " 200 | complete" in proxy.output()


def test_soft_stop_closes_idle_connections_at_once(proxy: Proxy, slow: SlowAnswer) -> None:
    slow.answer.set()
    with connect(proxy.port) as used, connect(proxy.port) as fresh, connect(proxy.port) as busy:
        used.sendall(get())
        receive_until(used, b"slow")
        slow.answer.clear()
        slow.asked.clear()
        busy.sendall(get())
        assert slow.asked.wait(20)
        proxy.send_signal(signal.SIGTERM)
        assert receive_all(used) == b""
        assert receive_all(fresh) == b""
        assert proxy.process.exit_code is None
        slow.answer.set()
        assert receive_all(busy).endswith(b"slow")
    assert proxy.wait() == 0


def test_second_signal_cuts(proxy: Proxy, slow: SlowAnswer) -> None:
    with connect(proxy.port) as client:
        client.sendall(get())
        assert slow.asked.wait(20)
        proxy.send_signal(signal.SIGTERM)
        wait_until(lambda: refuses_connections(proxy.port))
        assert proxy.stop(signal.SIGTERM) == 0
        assert receive_what_comes(client) == b""
    assert "sozu_trio stopped: 1 session cut\n" in proxy.output()
    assert " - | cut by the operator" in proxy.output()


def test_soft_stop_turns_hard_after_shutdown_timeout(slow: SlowAnswer, start_proxy: StartProxy) -> None:
    with serving(slow) as backend:
        proxy = start_proxy(http_proxy(free_port(), backend, before="shutdown_timeout = 0.5"))
        with connect(proxy.port) as client:
            client.sendall(get())
            assert slow.asked.wait(20)
            proxy.send_signal(signal.SIGTERM)
            assert proxy.wait() == 0
            assert receive_what_comes(client) == b""


def test_hard_stop_cuts_tcp_sessions(start_proxy: StartProxy) -> None:
    connected = threading.Event()

    def listen(sock: socket.socket) -> None:
        connected.set()
        receive_all(sock)

    with serving(listen) as backend:
        proxy = start_proxy(tcp_proxy(free_port(), backend))
        with connect(proxy.port) as client:
            assert connected.wait(20)
            proxy.send_signal(signal.SIGTERM)
            wait_until(lambda: refuses_connections(proxy.port))
            assert proxy.stop(signal.SIGTERM) == 0
            assert receive_what_comes(client) == b""


def receive_what_comes(sock: socket.socket) -> bytes:
    """Everything until the connection ends, be it with a reset."""
    try:
        return receive_all(sock)
    except ConnectionResetError:
        return b""


def test_logs_are_reopened(nginx: Nginx, start_proxy: StartProxy, tmp_path: Path) -> None:
    nginx.files.joinpath("page").write_text("page")
    log, old = tmp_path / "access.log", tmp_path / "access.log.1"
    proxy = start_proxy(http_proxy(free_port(), nginx.port, before=f'access_logs_target = "file://{log}"'))
    assert curl(f"http://127.0.0.1:{proxy.port}/page?before").status == 200
    wait_until(lambda: "/page?before" in log.read_text())
    log.rename(old)
    proxy.send_signal(signal.SIGUSR1)
    wait_until(log.exists)  # at once, with nothing to write
    assert curl(f"http://127.0.0.1:{proxy.port}/page?after").status == 200
    wait_until(lambda: "/page?after" in log.read_text())
    assert "/page?before" not in log.read_text()
    assert "/page?after" not in old.read_text()


@pytest.mark.parametrize(
    ("sent", "told"),
    [(signal.SIGHUP, "SIGHUP: {} is in force: generation 1"), (signal.SIGUSR2, "main: version 0.1.0 to 0.1.0, away")],
    ids=["SIGHUP", "SIGUSR2"],
)
def test_other_signals_end_nothing(nginx: Nginx, start_proxy: StartProxy, sent: signal.Signals, told: str) -> None:
    nginx.files.joinpath("page").write_text("page")
    proxy = start_proxy(http_proxy(free_port(), nginx.port))
    proxy.send_signal(sent)
    wait_until(lambda: told.format(proxy.file) in proxy.output())
    assert curl(f"http://127.0.0.1:{proxy.port}/page").body == b"page"
