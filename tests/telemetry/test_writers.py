"""Real files, pipes and sockets written to."""

import os
import socket
import stat
import threading
from contextlib import closing
from pathlib import Path

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.errors import OperatorError
from sozu_trio.telemetry import writers
from sozu_trio.telemetry.targets import File, Standard, Tcp, Udp, UnixDatagram
from sozu_trio.telemetry.writers import DATAGRAM, Descriptor, Outlet, Writer, open_target


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_standard_streams(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    with closing(open_target(Standard("stdout" if name == "stdout" else "stderr"))) as writer:
        writer.write(["one", "twö", "\ud800"])
        writer.reopen()
        writer.write(["three"])
    assert getattr(capfd.readouterr(), name[3:]) == "one\ntwö\n\\ud800\nthree\n"


def test_a_file_is_made_at_once_and_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "proxy.log"
    with closing(open_target(File(path))) as writer:
        assert stat.S_IMODE(path.stat().st_mode) & ~0o640 == 0
        writer.write(["one", "two"])
    with closing(open_target(File(path))) as writer:
        writer.write(["three"])
    assert path.read_text() == "one\ntwo\nthree\n"


def test_a_rotated_file_is_reopened_by_the_next_write(tmp_path: Path) -> None:
    path, old = tmp_path / "proxy.log", tmp_path / "proxy.log.1"
    with closing(open_target(File(path))) as writer:
        writer.write(["before"])
        path.rename(old)
        writer.write(["still the old one"])
        writer.reopen()
        writer.write(["after"])
    assert old.read_text() == "before\nstill the old one\n"
    assert path.read_text() == "after\n"


def test_a_file_that_cannot_be_opened_is_the_operators_to_mend(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "proxy.log"
    with pytest.raises(OperatorError, match=f"^log target file://{path}: cannot open it: No such file or directory"):
        open_target(File(path))


def test_a_named_pipe_that_nobody_reads_does_not_hold_up_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OperatorError, match="No such device or address"):
        open_target(File(tmp_path / "pipe"))


def test_a_full_device_is_an_error_and_the_next_write_tries_again() -> None:
    with closing(open_target(File(Path("/dev/full")))) as writer:
        for _ in range(2):
            with pytest.raises(OSError, match="No space left"):
                writer.write(["lost"])


def test_a_descriptor_someone_made_non_blocking_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    line = "x" * 300_000  # more than a pipe holds
    got = bytearray()

    def read_all() -> None:
        while data := os.read(reading, 65536):
            got.extend(data)

    reader = threading.Thread(target=read_all)
    wait_writable = writers._wait_writable

    def wait(fd: int) -> None:
        if reader.ident is None:
            reader.start()  # only now, so that the pipe is full
        wait_writable(fd)

    monkeypatch.setattr(writers, "_wait_writable", wait)
    outlet = Descriptor(writing, owned=True)
    assert outlet.usable()
    outlet.send([line])
    outlet.close()
    reader.join()
    os.close(reading)
    assert got.decode() == line + "\n"


def test_a_unix_datagram_per_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as log, closing(open_target(UnixDatagram(path))) as writer:
        with pytest.raises(FileNotFoundError):
            writer.write(["too early"])
        log.bind(str(path))
        writer.write(["one"])
        writer.write(["two", "three"])
        writer.write(["four\nfive\n\ta traceback\nsix"])
        assert [log.recv(100) for _ in range(3)] == [b"one", b"two", b"three"]
        assert [log.recv(100) for _ in range(3)] == [b"four", b"five\n\ta traceback", b"six"]


def test_a_udp_datagram_per_line_cut_between_characters() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as log:
        log.bind(("127.0.0.1", 0))
        with closing(open_target(Udp(Address(*log.getsockname())))) as writer:
            writer.write(["one", "x" * DATAGRAM, "é" * DATAGRAM])
        assert log.recv(65536) == b"one"
        assert log.recv(65536) == b"x" * DATAGRAM
        assert log.recv(65536).decode() == "é" * ((DATAGRAM - 3) // 2) + "…"


def test_a_tcp_connection_is_made_for_the_first_line_and_again_when_the_peer_hung_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as log:
        log.settimeout(5)
        with closing(open_target(Tcp(Address(*log.getsockname())))) as writer:
            for line in ("one", "two"):
                writer.write([line])
                peer, _ = log.accept()
                with peer:
                    assert peer.recv(100) == line.encode() + b"\n"


def test_a_tcp_connection_is_kept_as_long_as_it_lives() -> None:
    with socket.create_server(("127.0.0.1", 0)) as log:
        with closing(open_target(Tcp(Address(*log.getsockname())))) as writer:
            writer.write(["one"])
            writer.write(["two"])
        peer, _ = log.accept()
        with peer, peer.makefile() as lines:
            assert list(lines) == ["one\n", "two\n"]


def test_a_tcp_peer_that_is_not_there_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as log:
        address = Address(*log.getsockname())
    with closing(open_target(Tcp(address))) as writer, pytest.raises(ConnectionRefusedError):
        writer.write(["lost"])


def test_a_tcp_peer_that_never_reads_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writers, "PATIENCE", 0.05)
    with (
        socket.create_server(("127.0.0.1", 0)) as log,
        closing(open_target(Tcp(Address(*log.getsockname())))) as writer,
        pytest.raises(TimeoutError),
    ):
        writer.write(["x" * 50_000_000])


def test_what_a_thread_is_stuck_in_is_not_closed() -> None:
    release, entered = threading.Event(), threading.Event()
    closed: list[bool] = []

    class Stuck:
        def usable(self) -> bool:
            return True

        def send(self, lines: list[str]) -> None:
            entered.set()
            release.wait(5)

        def close(self) -> None:
            closed.append(True)

    def connect() -> Outlet:
        return Stuck()

    writer = Writer(Standard("stdout"), connect)
    thread = threading.Thread(target=writer.write, args=[["line"]])
    thread.start()
    entered.wait(5)
    writer.close()
    assert closed == []
    release.set()
    thread.join()
    writer.close()
    assert closed == [True]
