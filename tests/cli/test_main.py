"""The command line: what is printed where, and the exit code."""

import importlib
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from sozu_trio import __version__
from sozu_trio.cli import main
from sozu_trio.config.addresses import Address
from sozu_trio.config.descriptors import need
from sozu_trio.config.load import Config
from sozu_trio.nursery.bind import bound_address, open_listening_socket
from sozu_trio.nursery.supervisor import Supervisor
from tests.addresses import free_address

serve = importlib.import_module("sozu_trio.cli.serve")  # As an attribute it is the function.


@pytest.fixture(autouse=True)
def limits() -> Iterator[None]:
    """`serve` raises the limit of descriptors of its process, which is ours here."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def written(folder: Path, text: str) -> str:
    file = folder / "proxy.toml"
    file.write_text(text)
    return str(file)


def listener(address: Address) -> str:
    return f'[[listeners]]\nprotocol = "tcp"\naddress = "{address}"\n'


@pytest.fixture
def stop_when_ready(monkeypatch: pytest.MonkeyPatch) -> None:
    say_ready = serve._say_ready

    def say_and_stop(config: Config, greeting: str, stack: AsyncExitStack, supervisor: Supervisor) -> None:
        say_ready(config, greeting, stack, supervisor)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(serve, "_say_ready", say_and_stop)


@pytest.mark.usefixtures("stop_when_ready")
def test_it_says_when_it_is_ready_and_when_it_has_stopped(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    addresses = sorted([free_address(), free_address("::1")])
    file = written(tmp_path, 'log_target = "stderr"\n' + "".join(map(listener, addresses)))
    assert main(["serve", "-c", file]) == 0
    assert capfd.readouterr().out == (
        f"sozu_trio ready: listening on {addresses[0]}, {addresses[1]} (generation 1)\n"
        "sozu_trio stopped: 0 sessions cut\n"
    )
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == resource.getrlimit(resource.RLIMIT_NOFILE)[1]


@pytest.mark.usefixtures("stop_when_ready")
def test_it_may_listen_nowhere(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "-c", written(tmp_path, 'log_target = "stderr"\n')]) == 0
    assert capfd.readouterr().out.startswith("sozu_trio ready: listening on nowhere (generation 1)\n")


@pytest.mark.usefixtures("stop_when_ready")
def test_the_pid_file_is_there_while_it_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid_file, seen = tmp_path / "pid", list[str]()
    announce = serve._say_ready

    def look(config: Config, greeting: str, stack: AsyncExitStack, supervisor: Supervisor) -> None:
        announce(config, greeting, stack, supervisor)
        seen.append(pid_file.read_text())

    monkeypatch.setattr(serve, "_say_ready", look)
    text = f'log_target = "stderr"\npid_file_path = "{pid_file}"\n'
    assert main(["serve", "--config", written(tmp_path, text)]) == 0
    assert (seen, pid_file.exists()) == ([f"{os.getpid()}\n"], False)


def test_a_taken_port_is_one_line_on_standard_error(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with open_listening_socket(Address("127.0.0.1", 0)) as sock:
        taken = bound_address(sock)
        file = written(tmp_path, f'log_target = "file://{tmp_path}/log"\n' + listener(taken))
        assert main(["serve", "-c", file]) == 1
    out, err = capfd.readouterr()
    assert (out, err) == ("", f"cannot listen on {taken}: the address is in use by another program\n")


FAULTY = """
max_connectoins = 5
[[listeners]]
protocol = "http"
address = "localhost:80"
[clusters.api]
protocol = "http"
frontends = [{ address = "127.0.0.1:1", hostname = "/(/" }]
"""


@pytest.mark.parametrize("more", [[], ["--check"]])
def test_all_that_is_wrong_with_a_file_is_told_at_once(
    more: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, FAULTY)
    assert main(["serve", "-c", file, *more]) == 1
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert len(lines) >= 3
    assert all(line.startswith(f"{file}: ") for line in lines)
    assert "max_connections" in err
    assert "localhost:80" in err
    assert "hostname" in err


def test_check_says_what_a_file_holds(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    address = free_address()
    with open_listening_socket(address):  # Nothing is bound.
        file = written(tmp_path, listener(address))
        assert main(["serve", "-c", file, "--check"]) == 0
    out, err = capfd.readouterr()
    assert (out.splitlines()[-1], err) == (f"{file}: valid: 1 listener, 0 clusters, 0 backends", "")


def test_check_tells_what_the_log_would(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = '[clusters.a]\nprotocol = "http"\nfrontends = [{ address = "127.0.0.1:1", hostname = "*" }]\n'
    file = written(tmp_path, "max_connections = 9\n" + text)
    assert main(["serve", "-c", file, "--check"]) == 0
    notice, valid = capfd.readouterr().out.splitlines()
    assert notice.startswith(f"info: {file}: ")
    assert valid.startswith(f"{file}: valid: 1 listener")


def test_more_connections_than_there_are_descriptors_for(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, f"max_connections = {1 << 31}\n")
    said = f"max_connections: found {1 << 31}, which takes {need(1 << 31)} descriptors of a process that may have "
    assert main(["serve", "-c", file, "--check"]) == 0
    assert capfd.readouterr().out.startswith(f"warning: {file}: {said}")
    assert main(["serve", "-c", file]) == 1
    assert capfd.readouterr().err.startswith(f"{file}: {said}")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["serve", "--check"], "--check needs a file"),
        (["serve", "-c", "/nowhere/proxy.toml"], "/nowhere/proxy.toml"),
    ],
)
def test_what_cannot_be_done_is_said(arguments: list[str], said: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 1
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert said in err


@pytest.mark.parametrize(
    "setting", ['log_level = "loud"', 'log_target = "mail://me"', 'log_target = "file:///nowhere/log"']
)
def test_a_log_that_cannot_be_is_told(setting: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "-c", written(tmp_path, setting + "\n")]) == 1
    assert capfd.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["steer"], ["serve", "--surprise"], ["serve", "-c"]])
def test_wrong_usage(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert capfd.readouterr().err.startswith("usage: sozu_trio")


def test_version_and_help(capfd: pytest.CaptureFixture[str]) -> None:
    for option, said in (("--version", f"sozu_trio {__version__}\n"), ("--help", "usage: sozu_trio")):
        with pytest.raises(SystemExit) as end:
            main([option])
        assert end.value.code == 0
        assert capfd.readouterr().out.startswith(said)


def test_a_mistake_of_ours_is_not_passed_off_as_the_operators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(serve, "_say_ready", fail)
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        main(["serve", "-c", written(tmp_path, 'log_target = "stderr"\n')])


@pytest.mark.usefixtures("stop_when_ready")
def test_without_a_file_it_serves_the_demonstration(
    demonstrated: tuple[Address, Address], capfd: pytest.CaptureFixture[str]
) -> None:
    address, secure = demonstrated
    assert main(["serve"]) == 0
    out = capfd.readouterr().out
    assert f"curl http://{address}/" in out
    assert f"https://localhost:{secure.port}/" in out
    assert "sozu_trio ready: listening on 127.0.0.1:" in out
    assert str(secure) in out.partition("sozu_trio ready")[2]


@pytest.mark.usefixtures("demonstrated")
@pytest.mark.parametrize("taken", ["ADDRESS", "SECURE_ADDRESS"])
def test_without_a_file_a_taken_port_is_told_and_no_welcome(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], taken: str
) -> None:
    with open_listening_socket(Address("127.0.0.1", 0)) as sock:
        monkeypatch.setattr(f"sozu_trio.cli.demo.{taken}", str(bound_address(sock)))
        assert main(["serve"]) == 1
    out, err = capfd.readouterr()
    assert ("curl" in out, err.count("\n")) == (False, 1)
    assert "is in use by another program" in err
