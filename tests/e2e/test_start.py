"""How the command starts, and how it says that it cannot: standard error says what and where, the exit code is 1."""

import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from benchmarks.processes import Process, says
from tests.e2e.clients import PATIENCE, curl
from tests.e2e.configurations import http_proxy
from tests.e2e.parts import READY, SERVE, StartProxy, environment_with

DEMONSTRATION = (8080, 8443)
"""Its ports."""


def serve(*arguments: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run the command to its end; it must not serve."""
    command = [*SERVE, *arguments]
    environment = environment_with({})
    run = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert "sozu_trio ready" not in run.stdout
    return run


def write(folder: Path, text: str) -> str:
    folder.joinpath("proxy.toml").write_text(text)
    return "proxy.toml"


@pytest.fixture
def taken() -> Iterator[int]:
    """A port somebody else listens on."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        yield other.getsockname()[1]


def test_taken_port(tmp_path: Path, taken: int) -> None:
    run = serve("-c", write(tmp_path, http_proxy(taken, 1)), folder=tmp_path)
    assert run.returncode == 1
    assert run.stderr == f"cannot listen on 127.0.0.1:{taken}: the address is in use by another program\n"


def test_port_taken_by_another_proxy(tmp_path: Path, start_proxy: StartProxy) -> None:
    # Both use SO_REUSEPORT: the kernel alone would let them share.
    config = http_proxy(free_port(), 1)
    start_proxy(config)
    run = serve("-c", write(tmp_path, config), folder=tmp_path)
    assert run.returncode == 1
    assert run.stderr.count("\n") == 1
    assert "the address is in use" in run.stderr


def test_one_taken_port_of_two_leaves_the_other_free(tmp_path: Path, taken: int) -> None:
    other = free_port()
    two = http_proxy(taken, 1) + f'[[listeners]]\nprotocol = "tcp"\naddress = "127.0.0.1:{other}"\n'
    assert serve("-c", write(tmp_path, two), folder=tmp_path).returncode == 1
    socket.create_server(("127.0.0.1", other)).close()


def test_every_mistake_is_listed(tmp_path: Path, taken: int) -> None:
    mistakes = http_proxy(taken, 1, before='log_levle = "info"\nmax_connections = "many"', cluster="load_balancing = 7")
    run = serve("-c", write(tmp_path, mistakes), folder=tmp_path)
    assert run.returncode == 1
    places = sorted(line.split(": ")[1] for line in run.stderr.splitlines())
    assert places == ["clusters.web.load_balancing", "log_levle", "max_connections"]
    assert "did you mean 'log_level'?" in run.stderr
    assert str(taken) not in run.stderr


def test_mistake_in_the_syntax(tmp_path: Path) -> None:
    run = serve("-c", write(tmp_path, 'log_level = "info"\n= 3\n'), folder=tmp_path)
    assert run.returncode == 1
    assert run.stderr.startswith("proxy.toml: line 2, column 1: ")


def test_no_such_file(tmp_path: Path) -> None:
    run = serve("-c", "absent.toml", folder=tmp_path)
    assert (run.returncode, run.stderr.count("\n")) == (1, 1)
    assert "absent.toml" in run.stderr


def test_log_file_that_cannot_be_written(tmp_path: Path) -> None:
    config = http_proxy(free_port(), 1, before='log_target = "file://absent/proxy.log"')
    run = serve("-c", write(tmp_path, config), folder=tmp_path)
    assert run.returncode == 1
    assert "absent/proxy.log: cannot open it" in run.stderr


@pytest.mark.parametrize("arguments", [["-x"], ["-c"], ["one-too-many"]])
def test_wrong_usage(arguments: list[str], tmp_path: Path) -> None:
    run = serve(*arguments, folder=tmp_path)
    assert run.returncode == 2
    assert "usage:" in run.stderr


def test_check_of_a_good_file(tmp_path: Path, taken: int) -> None:
    # The port is taken: nothing is bound.
    run = serve("-c", write(tmp_path, http_proxy(taken, 1, before="max_connections = 9")), "--check", folder=tmp_path)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout == "proxy.toml: valid: 1 listener, 1 cluster, 1 backend\n"


def test_check_of_a_bad_file(tmp_path: Path) -> None:
    run = serve("-c", write(tmp_path, "max_connections = 0\n"), "--check", folder=tmp_path)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("proxy.toml: max_connections: found 0")


def test_pid_file(tmp_path: Path, start_proxy: StartProxy) -> None:
    file = tmp_path / "proxy.pid"
    proxy = start_proxy(http_proxy(free_port(), 1, before=f'pid_file_path = "{file}"'))
    assert file.read_text() == f"{proxy.pid}\n"
    assert proxy.stop() == 0
    assert not file.exists()


@pytest.fixture
def demonstration(tmp_path: Path) -> Iterator[Process]:
    """`serve` without arguments; it has its ports in its code."""
    for port in DEMONSTRATION:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                pytest.skip(f"port {port} is in use")
    with Process(SERVE, tmp_path, name="sozu_trio", environment=environment_with({})) as process:
        process.wait_until(says("sozu_trio ready"), READY)
        yield process
        assert process.end() == 0


def test_demonstration_shows_requests_as_backends_got_them(demonstration: Process) -> None:
    answers = [curl("http://127.0.0.1:8080/hello", "--data", "some text", "--header", "X-Mine: 1") for _ in range(4)]
    assert {answer.fields["x-demo-backend"] for answer in answers} == {"demo-1", "demo-2"}
    for answer in answers:
        assert b'"X-Mine: 1"' in answer.body
        assert b'"body": "some text"' in answer.body


def test_demonstration_has_a_page_and_says_what_to_try(demonstration: Process) -> None:
    page = curl("http://127.0.0.1:8080/")
    assert page.fields["content-type"] == "text/html; charset=utf-8"
    assert b"sozu_trio works" in page.body
    # Each line it proposes works as it stands.
    proposed = re.findall(r"^ +(curl .*?) {3,}", demonstration.output(), re.MULTILINE)
    assert len(proposed) == 5
    for line in proposed:
        shown = subprocess.run(
            ["sh", "-c", line.replace("slow?5", "slow?0")], capture_output=True, timeout=PATIENCE, check=True
        )
        assert shown.stdout


def test_authority_of_the_demonstration(demonstration: Process, tmp_path: Path) -> None:
    """It is trusted as long as its worker is another one each time, and nothing of it stays."""
    authority = tmp_path / "sozu.sock.d" / "authority.pem"
    for host in ("localhost", "127.0.0.1"):
        assert b"https" in curl(f"https://{host}:8443/hello", "--cacert", str(authority)).body
    (line,) = re.findall(r"^ +curl --cacert (\S+) https:\S+ ", demonstration.output(), re.MULTILINE)
    assert line == str(authority)
    run_ctl(tmp_path, "upgrade", "--worker", "0")
    assert curl("https://localhost:8443/hello", "--cacert", str(authority)).status == 200
    assert b"PRIVATE KEY" not in authority.read_bytes()
    assert demonstration.end() == 0
    assert not authority.exists()


def run_ctl(folder: Path, *words: str) -> None:
    command = [sys.executable, "-m", "sozu_trio", "ctl", *words]
    subprocess.run(command, cwd=folder, capture_output=True, timeout=2 * PATIENCE, check=True)


def test_taken_port_of_the_demonstration(demonstration: Process, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    run = serve(folder=elsewhere)
    assert run.returncode == 1
    assert run.stdout == ""
    assert run.stderr == "cannot listen on 127.0.0.1:8080: the address is in use by another program\n"


def test_a_demonstration_where_one_runs_already(demonstration: Process, tmp_path: Path) -> None:
    run = serve(folder=tmp_path)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr == f"another sozu_trio (pid {demonstration.pid}) serves {tmp_path}/sozu.sock\n"
