"""What a service manager is told, word by word; and that it is never waited for."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from sozu_trio.errors import OperatorError
from sozu_trio.main.service_manager import REMEMBERED, ServiceManager, service_manager


@pytest.fixture
def ear(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.setblocking(False)
        yield sock


@pytest.fixture
def manager(ear: socket.socket) -> ServiceManager:
    return ServiceManager(ear.getsockname(), clock=lambda: 12_345_678)


def heard(ear: socket.socket) -> list[str]:
    """Each datagram, its lines joined by a blank."""
    said = []
    while True:
        try:
            said.append(ear.recv(4096).decode().replace("\n", " "))
        except BlockingIOError:
            return said


def test_a_whole_life(manager: ServiceManager, ear: socket.socket) -> None:
    manager.ready("up")
    manager.alive()
    manager.status("up")
    manager.status("better")
    with manager.reloading():
        pass
    manager.stopping("2 left")
    manager.still_stopping("1 left", 2.5)
    manager.close()
    assert heard(ear) == [
        f"READY=1 MAINPID={os.getpid()} STATUS=up",
        "WATCHDOG=1",
        "STATUS=better",
        "RELOADING=1 MONOTONIC_USEC=12345",
        "READY=1",
        "STOPPING=1 STATUS=2 left",
        "EXTEND_TIMEOUT_USEC=2500000 STATUS=1 left",
    ]


def test_of_two_reloads_at_once_the_last_one_to_end_is_ready(manager: ServiceManager, ear: socket.socket) -> None:
    manager.ready("up")
    first, second = manager.reloading(), manager.reloading()
    with second:
        first.__enter__()
    assert [said.split()[0] for said in heard(ear)] == ["READY=1", "RELOADING=1", "RELOADING=1"]
    assert not first.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    assert heard(ear) == ["READY=1"]


def test_a_reload_neither_begins_nor_ends_a_life(manager: ServiceManager, ear: socket.socket) -> None:
    with manager.reloading():
        pass
    manager.close()
    assert heard(ear) == []
    manager.ready("up")
    with manager.reloading():
        manager.stopping("ending")
    assert [said.split()[0] for said in heard(ear)] == ["READY=1", "RELOADING=1", "STOPPING=1"]


def test_an_end_that_nobody_asked_for_is_a_stop(manager: ServiceManager, ear: socket.socket) -> None:
    manager.ready("up")
    manager.close()
    assert heard(ear)[1:] == ["STOPPING=1 STATUS=ending"]


def test_an_abstract_address() -> None:
    name = f"sozu-trio-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(f"\0{name}")
        ear.setblocking(False)
        ServiceManager(f"@{name}").alive()
        assert heard(ear) == ["WATCHDOG=1"]


def test_what_must_not_be_missed_is_said_again_when_there_is_room(
    manager: ServiceManager, ear: socket.socket, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.setblocking(False)
        other.connect(ear.getsockname())
        with contextlib.suppress(BlockingIOError):
            while True:
                other.send(b"others")
        manager.ready("up")
        manager.alive()
        manager.status("up")
        assert set(heard(ear)) == {"others"}
    manager.status("up")
    assert heard(ear) == [f"READY=1 MAINPID={os.getpid()} STATUS=up", "STATUS=up"]
    assert len(caplog.records) == 1


def test_what_nobody_listens_to_is_not_kept_for_ever(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    manager = ServiceManager(str(tmp_path / "notify"))
    manager.ready("up")
    for _ in range(REMEMBERED):
        with manager.reloading():
            pass
    manager.stopping("ending")
    (record,) = caplog.records
    assert record.getMessage().startswith(f"the service manager cannot be told anything at {tmp_path}/notify: ")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(str(tmp_path / "notify"))
        ear.setblocking(False)
        manager.still_stopping("ending", 1)
        said = heard(ear)
    assert len(said) == REMEMBERED + 1
    assert said[-2].startswith("STOPPING=1")


@pytest.mark.parametrize("address", ["vsock:2:1234", "/" + "x" * 200, "@" + "x" * 200])
def test_an_address_that_is_none_is_told_once(address: str, caplog: pytest.LogCaptureFixture) -> None:
    manager = ServiceManager(address)
    manager.ready("up")
    manager.alive()
    assert len(caplog.records) == 1


def test_nobody_is_told_without_an_address(caplog: pytest.LogCaptureFixture) -> None:
    manager = service_manager({"WATCHDOG_USEC": "1000000"})
    assert (manager.there, manager.watchdog) == (False, None)
    manager.ready("up")
    manager.alive()
    with manager.reloading():
        manager.close()
    assert caplog.records == []


def test_the_environment_is_read_and_cleaned() -> None:
    variables = {"NOTIFY_SOCKET": "@it", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}
    environment = {"PATH": "/bin", **variables}
    manager = service_manager(environment)
    assert (manager.there, manager.watchdog, manager.variables) == (True, 30.0, variables)
    assert environment == {"PATH": "/bin"}


def test_a_watchdog_of_another_process_is_not_ours() -> None:
    environment = {"NOTIFY_SOCKET": "@it", "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}
    assert service_manager(environment).watchdog is None
    assert environment == {}


@pytest.mark.parametrize("name", ["WATCHDOG_USEC", "WATCHDOG_PID"])
@pytest.mark.parametrize("value", ["soon", "-1", "1.5", "", "٣"])
def test_what_is_no_number_is_told(name: str, value: str) -> None:
    with pytest.raises(OperatorError, match=f"^{name}: found '{value}' in the environment; want a whole number"):
        service_manager({"NOTIFY_SOCKET": "@it", name: value})


def test_a_watchdog_without_time_is_told() -> None:
    with pytest.raises(OperatorError, match="WATCHDOG_USEC: found 0"):
        service_manager({"NOTIFY_SOCKET": "@it", "WATCHDOG_USEC": "0"})
