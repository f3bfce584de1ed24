"""Logs as docs/logs.md tells of them, and a target nobody reads, which must not stop traffic."""

import json
import os
import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from benchmarks.processes import family
from tests.e2e.clients import PATIENCE, curl, receive_all, wrk
from tests.e2e.configurations import http_proxy
from tests.e2e.parts import READY, SERVE, Nginx, Proxy, StartProxy, environment_with, wait_until

DOCUMENT = Path(__file__).parents[2] / "docs" / "logs.md"


@pytest.fixture
def start(nginx: Nginx, start_proxy: StartProxy) -> Callable[..., Proxy]:
    """Start a proxy before `nginx`, which has `page`; `before` are global keys."""
    nginx.files.joinpath("page").write_text("page")

    def start(before: str = "", **environment: str) -> Proxy:
        return start_proxy(http_proxy(free_port(), nginx.port, before=before), environment=environment)

    return start


def ask(proxy: Proxy, target: str) -> None:
    assert curl(f"http://127.0.0.1:{proxy.port}{target}").status == 200


def test_file(start: Callable[..., Proxy], tmp_path: Path) -> None:
    log, access = tmp_path / "proxy.log", tmp_path / "access.log"
    proxy = start(f'log_target = "file://{log}"\naccess_logs_target = "file://{access}"')
    ask(proxy, "/page?1")
    wait_until(lambda: "GET /page?1 200 | complete" in access.read_text())
    assert "INFO MAIN\tlistening on" in log.read_text()
    assert "/page?1" not in log.read_text()
    assert log.stat().st_mode & 0o777 == 0o640
    assert re.fullmatch(r"sozu_trio ready.*\n", proxy.output())


@pytest.mark.parametrize("kind", ["unix", "udp"])
def test_datagrams(start: Callable[..., Proxy], tmp_path: Path, kind: str) -> None:
    family = socket.AF_UNIX if kind == "unix" else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as collector:
        collector.settimeout(PATIENCE)
        if kind == "unix":
            collector.bind(str(tmp_path / "collector"))
            target = f"unix://{tmp_path}/collector"
        else:
            collector.bind(("127.0.0.1", 0))
            target = f"udp://127.0.0.1:{collector.getsockname()[1]}"
        ask(start(f'access_logs_target = "{target}"'), "/page?2")
        line = collector.recv(65536)
    assert b" GET /page?2 200 | complete" in line
    assert b"\n" not in line


def test_tcp(start: Callable[..., Proxy]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as collector:
        collector.settimeout(PATIENCE)
        proxy = start(f'access_logs_target = "tcp://127.0.0.1:{collector.getsockname()[1]}"')
        ask(proxy, "/page?3")
        lines, _ = collector.accept()
        with lines:
            lines.settimeout(PATIENCE)
            assert proxy.stop() == 0
            assert receive_all(lines).endswith(b" GET /page?3 200 | complete\n")


def test_last_line_is_written(start: Callable[..., Proxy]) -> None:
    proxy = start()
    ask(proxy, "/page?last")
    assert proxy.stop() == 0
    assert "GET /page?last 200 | complete" in proxy.output()


def test_json_lines_hold_what_the_document_says(start: Callable[..., Proxy], tmp_path: Path) -> None:
    access = tmp_path / "access.log"
    proxy = start(f'access_logs_format = "json"\naccess_logs_target = "file://{access}"')
    url = f"http://127.0.0.1:{proxy.port}/page?x=%22"
    answer = curl(url, "--user-agent", 'a "name" [é]', "--header", "X-Forwarded-For: 192.0.2.7")
    curl(f"http://127.0.0.1:{proxy.port}/nothing")
    wait_until(lambda: access.read_text().count("\n") == 2)
    line, second = map(json.loads, access.read_text().splitlines())
    assert line.keys() == second.keys() == documented_keys()
    assert line["request_id"] == line["x_request_id"] == answer.fields["sozu-id"]
    assert (line["method"], line["path"], line["status"]) == ("GET", "/page?x=%22", 200)
    assert (line["user_agent"], line["xff_chain"]) == ('a "name" [é]', "192.0.2.7")
    assert (line["level"], line["protocol"], line["message"]) == ("INFO-ACCESS", "HTTP", "complete")
    assert line["pid"] in set(family(proxy.pid)) - {proxy.pid}
    assert 0 < line["service_time"] < line["request_time"]
    assert line["service_time"] + line["response_time"] <= line["request_time"]
    assert second["status"] == 404


def documented_keys() -> set[str]:
    """The keys in the table of the JSON access log."""
    table = DOCUMENT.read_text().partition("## Access log: JSON")[2].partition("Missing lines")[0]
    first_columns = [row.split("|")[1] for row in table.splitlines() if row.startswith("| `")]
    return set(re.findall(r"`(\w+)`", " ".join(first_columns)))


def test_environment_wins_over_the_file(start: Callable[..., Proxy]) -> None:
    quiet = start('log_level = "debug"', SOZU_LOG="error,sozu_trio.access=info")
    ask(quiet, "/page?4")
    wait_until(lambda: "/page?4" in quiet.output())
    assert " INFO MAIN" not in quiet.output()
    chatty = start('log_level = "off"', SOZU_LOG="info")
    ask(chatty, "/page?5")
    wait_until(lambda: "/page?5" in chatty.output())
    assert " INFO MAIN\tlistening on" in chatty.output()


def test_mistake_in_the_environment(tmp_path: Path) -> None:
    tmp_path.joinpath("proxy.toml").write_text(http_proxy(free_port(), 1))
    environment = environment_with({"SOZU_LOG": "inof"})
    command = [*SERVE, "-c", "proxy.toml"]
    run = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert run.returncode == 1
    assert "inof" in run.stderr
    assert "info" in run.stderr


def test_fifo_nobody_reads(start: Callable[..., Proxy], tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        proxy = start(f'log_target = "file://{fifo}"')
        load = wrk(f"http://127.0.0.1:{proxy.port}/page", connections=4, seconds=2)
        assert load.errors == []
        assert load.requests * 200 > 65536  # or it has not been full
        assert proxy.stop() == 0
    finally:
        os.close(reader)


@pytest.mark.parametrize("reader", ["stuck", "gone"])
def test_standard_output_nobody_reads(nginx: Nginx, tmp_path: Path, reader: str) -> None:
    nginx.files.joinpath("page").write_text("page")
    port = free_port()
    tmp_path.joinpath("proxy.toml").write_text(http_proxy(port, nginx.port))
    command = [*SERVE, "-c", str(tmp_path / "proxy.toml")]
    pipe, environment = subprocess.PIPE, environment_with({})
    with subprocess.Popen(command, cwd=tmp_path, stdout=pipe, stderr=pipe, env=environment) as proxy:
        try:
            assert proxy.stdout is not None
            assert proxy.stderr is not None
            while not proxy.stdout.readline().startswith(b"sozu_trio ready"):
                assert proxy.poll() is None
            if reader == "gone":
                proxy.stdout.close()
            load = wrk(f"http://127.0.0.1:{port}/page", connections=4, seconds=2)
            assert load.errors == []
            assert load.requests * 200 > 65536
            proxy.terminate()
            assert proxy.wait(READY) == 0
            errors = proxy.stderr.read()
        finally:
            proxy.kill()
    assert b"Traceback" not in errors
    assert (b"log target stdout: " in errors) == (reader == "gone")


def test_collector_that_comes_later(start: Callable[..., Proxy], tmp_path: Path) -> None:
    proxy = start(f'access_logs_target = "unix://{tmp_path}/collector"')
    ask(proxy, "/page?lost")
    wait_until(lambda: "log target unix:" in proxy.errors())
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as collector:
        collector.settimeout(PATIENCE)
        collector.bind(str(tmp_path / "collector"))
        ask(proxy, "/page?seen")
        assert b"/page?seen" in collector.recv(65536)
        assert b"1 lines are missing here" in collector.recv(65536)
