"""Where the next main finds a worker: only its owner gets there, and the kernel says who is behind it."""

import contextlib
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from sozu_trio.errors import OperatorError
from sozu_trio.nursery.door import doors_in, knock, make_directory, make_door, remove_door
from tests.descriptors import open_descriptors

LISTEN = "import socket, sys; s = socket.socket(fileno=int(sys.argv[1])); s.listen(1); print(flush=True); s.accept()"


def test_the_directory_is_its_owners_alone(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    for _ in range(2):
        make_directory(directory)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: path.touch(), "cannot make .*: File exists"),
        (lambda path: path.symlink_to(path.parent), "is no directory"),
        (lambda path: (path.mkdir(), path.chmod(0o777)), "belongs to uid .* with mode 777; want a directory of uid"),
    ],
)
def test_what_is_no_directory_of_ours_is_refused(tmp_path: Path, make: object, why: str) -> None:
    assert callable(make)
    make(tmp_path / "run")
    with pytest.raises(OperatorError, match=f"^runtime_directory: .*{why}"):
        make_directory(tmp_path / "run")


def test_nowhere_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="No such file"):
        make_directory(tmp_path / "none" / "run")


def test_who_is_behind_a_door_is_who_listens_there(tmp_path: Path) -> None:
    """And not who has made it. However long its path is."""
    directory = tmp_path / ("long" * 30)
    directory.mkdir()
    sock, path = make_door(directory, 7)
    with sock:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert doors_in(directory) == [path]
        with pytest.raises(ConnectionRefusedError):
            knock(path)
        fd = sock.fileno()
        with subprocess.Popen(
            [sys.executable, "-c", LISTEN, str(fd)], pass_fds=[fd], stdout=subprocess.PIPE, text=True
        ) as worker:
            assert worker.stdout is not None
            worker.stdout.readline()
            found, pid = knock(path)
            assert pid == worker.pid
            found.close()
    with pytest.raises(ConnectionRefusedError):
        knock(path)
    for _ in range(2):
        remove_door(path)
    assert doors_in(directory) == []


def test_other_files_are_no_doors(tmp_path: Path) -> None:
    for name in ("journal", "worker-1.sock", "worker-1-12345g.sock", "xworker-1-123456.sock"):
        (tmp_path / name).touch()
    assert doors_in(tmp_path) == []
    assert doors_in(tmp_path / "none") == []


def test_a_door_that_cannot_be_made_leaves_nothing_open(tmp_path: Path) -> None:
    before = open_descriptors()
    with pytest.raises(FileNotFoundError):
        make_door(tmp_path / "none", 0)
    with contextlib.suppress(FileNotFoundError):
        knock(tmp_path / "none" / "worker-0-123456.sock")
    assert open_descriptors() == before
