"""The socket file: made at once, never stolen, never left behind."""

import contextlib
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sozu_trio.config.globals import UNIX_PATH
from sozu_trio.control.endpoint import open_control_socket
from sozu_trio.errors import OperatorError

SERVE = """
import sys
from pathlib import Path
from sozu_trio.control.endpoint import open_control_socket
with open_control_socket(Path(sys.argv[1])):
    print("serving", flush=True)
    input()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "sock"


@contextlib.contextmanager
def another(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that serves `path`."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout
        assert process.stdout.readline() == "serving\n"
        yield process
        process.communicate("\n")


def refused(path: Path) -> str:
    with pytest.raises(OperatorError) as error, open_control_socket(path):
        pass
    return str(error.value)


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


@pytest.mark.parametrize("umask", [0, 0o077, 0o777])
def test_made_for_its_owner_and_removed(path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        with open_control_socket(path) as sock:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            assert connects(path)
            assert not sock.getblocking()
            assert not os.get_inheritable(sock.fileno())
            assert sorted(path.parent.iterdir()) == [path, Path(f"{path}.lock")]
    finally:
        os.umask(before)
    assert sock.fileno() == -1
    assert not path.exists()


def test_never_open_to_others_not_even_under_its_temporary_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[tuple[str, int]] = []
    chmod = Path.chmod

    def look_first(file: Path, mode: int) -> None:
        modes.append((file.name, stat.S_IMODE(file.stat().st_mode)))
        chmod(file, mode)

    monkeypatch.setattr(Path, "chmod", look_first)
    with open_control_socket(path):
        assert modes == [("sock.new", 0o600)]


def test_again_and_again(path: Path) -> None:
    for _ in range(3):
        with open_control_socket(path):
            assert connects(path)


def test_a_proxy_that_lives_keeps_it(path: Path) -> None:
    with another(path) as process:
        assert refused(path) == f"another sozu_trio (pid {process.pid}) serves {path}"
        assert connects(path)
    with open_control_socket(path):
        pass


def test_also_from_this_process(path: Path) -> None:
    with open_control_socket(path):
        assert refused(path) == f"another sozu_trio (pid {os.getpid()}) serves {path}"


def test_a_holder_that_has_not_said_who_it_is(path: Path) -> None:
    with open_control_socket(path):
        os.truncate(f"{path}.lock", 0)
        assert refused(path) == f"another sozu_trio (pid unknown) serves {path}"


def test_what_a_killed_proxy_left_is_replaced(path: Path) -> None:
    with another(path) as process:
        process.kill()
        process.wait()
    assert path.is_socket()
    assert not connects(path)
    with socket.socket(socket.AF_UNIX) as half_way:
        half_way.bind(f"{path}.new")
    with open_control_socket(path):
        assert connects(path)
        assert not Path(f"{path}.new").exists()


@pytest.mark.parametrize("kind", [socket.SOCK_STREAM, socket.SOCK_DGRAM])
def test_another_program_that_listens_there_keeps_it(path: Path, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_UNIX, kind) as other:
        other.bind(str(path))
        if kind == socket.SOCK_STREAM:
            other.listen()
        why = refused(path)
    assert why.startswith(f"command_socket: another program listens at {path}")
    assert why.endswith(f"and does not hold {path}.lock")
    assert path.is_socket()


def test_one_with_a_full_queue_lives_too(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other, contextlib.ExitStack() as clients:
        other.bind(str(path))
        other.listen(0)
        for _ in range(2):
            client = clients.enter_context(socket.socket(socket.AF_UNIX))
            client.setblocking(False)
            client.connect_ex(str(path))
        assert "another program listens" in refused(path)


@pytest.mark.parametrize("name", ["sock", "sock.new"])
@pytest.mark.parametrize(
    ("kind", "called"), [("file", "a file"), ("folder", "a directory"), ("link", "a symbolic link")]
)
def test_what_is_no_socket_stays(path: Path, name: str, kind: str, called: str) -> None:
    there = path.with_name(name)
    target = path.with_name("target")
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(target))
        makers: dict[str, Callable[[], None]] = {
            "file": there.touch,
            "folder": there.mkdir,
            "link": lambda: there.symlink_to(target),
        }
        makers[kind]()
        assert refused(path) == f"command_socket: {there} is {called}; want a socket, or a path where nothing is"
    assert there.exists()
    assert connects(path) is False


def test_a_path_that_is_too_long(tmp_path: Path) -> None:
    room = UNIX_PATH - len(str(tmp_path)) - len("/.new")
    with open_control_socket(tmp_path / ("x" * room)) as sock:
        assert connects(Path(sock.getsockname()).with_name("x" * room))
    path = tmp_path / ("x" * (room + 1))
    assert refused(path) == (
        f"command_socket: {path} has 104 bytes; want at most 103, because a unix socket's path takes 107 and is made "
        "under the name ….new"
    )


def test_directories_that_do_not_do(tmp_path: Path) -> None:
    missing = tmp_path / "missing" / "sock"
    why = f"command_socket: cannot make {missing}.lock: the directory {missing.parent} does not exist"
    assert refused(missing) == why
    tmp_path.joinpath("file").touch()
    below = tmp_path / "file" / "sock"
    assert refused(below) == f"command_socket: cannot make {below}.lock: {below.parent} is no directory"
    linked = tmp_path / "linked"
    Path(f"{linked}.lock").symlink_to(tmp_path / "elsewhere")
    assert refused(linked) == f"command_socket: cannot make {linked}.lock: it is a symbolic link"


def test_a_directory_that_may_not_be_written(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may write everywhere, so the kernel's answer is made up here."""
    bind = socket.socket.bind

    def forbidden(_sock: socket.socket, _address: str) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(socket.socket, "bind", forbidden)
    assert refused(path) == f"command_socket: cannot make {path}: permission denied in {path.parent}"
    monkeypatch.setattr(socket.socket, "bind", bind)
    with open_control_socket(path):
        pass


def test_a_successors_socket_is_left_alone(path: Path) -> None:
    with open_control_socket(path), socket.socket(socket.AF_UNIX) as other:
        path.unlink()
        other.bind(str(path))
    assert path.is_socket()


def test_an_error_of_the_body_passes(path: Path) -> None:
    with pytest.raises(ValueError, match="body"), open_control_socket(path):
        raise ValueError("body")
    assert not path.exists()
    with open_control_socket(path):
        pass
