"""What outlives an image of main, and that it stays as it was left until there is no way back."""

import contextlib
import fcntl
import os
import socket
from pathlib import Path

import pytest

from sozu_trio.control.endpoint import open_control_socket
from sozu_trio.control.heirlooms import Heirlooms
from sozu_trio.control.lock import locked
from sozu_trio.errors import OperatorError


def is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def hold(path: Path, heirlooms: Heirlooms | None = None) -> contextlib.AbstractContextManager[None]:
    return locked(path, holds="is there", unusable=str, heirlooms=heirlooms)


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as sock:
        return sock.connect_ex(str(path)) == 0


def test_what_was_left_is_copied_and_closed_once_there_is_no_way_back(tmp_path: Path) -> None:
    left = os.open(tmp_path, os.O_RDONLY)
    heirlooms = Heirlooms({"it": left})
    copy = heirlooms.copy_of("it")
    assert copy is not None
    assert os.path.sameopenfile(copy, left)
    assert not os.get_inheritable(copy)
    assert heirlooms.copy_of("something else") is None
    assert not heirlooms.settled
    heirlooms.settle()
    assert heirlooms.settled
    assert not is_open(left)
    assert heirlooms.copy_of("it") is None
    os.close(copy)


def test_one_that_was_started_afresh_has_nothing_and_owns_everything() -> None:
    heirlooms = Heirlooms()
    assert heirlooms.settled
    assert heirlooms.held == {}
    heirlooms.settle()


def test_a_lock_is_gone_on_with_and_only_emptied_by_who_has_settled(tmp_path: Path) -> None:
    path, file = tmp_path / "it", tmp_path / "it.lock"
    first = Heirlooms()
    with hold(path, first):
        descriptor = first.held[str(file)]
        left = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 0)
        second = Heirlooms({str(file): left})
        with hold(path, second):
            assert os.path.sameopenfile(second.held[str(file)], descriptor)
        assert second.held == {}
        assert file.read_text() == f"{os.getpid()}\n"
        with pytest.raises(OperatorError, match="is there"), hold(path):
            pass
        third = Heirlooms({str(file): left})
        with hold(path, third):
            third.settle()
        assert file.read_text() == ""
    assert not is_open(left)


def test_a_control_socket_is_gone_on_with_and_only_removed_by_who_has_settled(tmp_path: Path) -> None:
    path = tmp_path / "sock"
    first = Heirlooms()
    with open_control_socket(path, first):
        left = {name: os.dup(descriptor) for name, descriptor in first.held.items()}
        assert left.keys() == {str(path), f"{path}.lock"}
        with open_control_socket(path, Heirlooms(left)):
            pass
        assert connects(path)
        last = Heirlooms(left)
        with open_control_socket(path, last) as sock:
            last.settle()
            assert connects(path)
            assert not sock.getblocking()
        assert not path.exists()
