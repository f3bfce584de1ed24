"""The file for secrets of TLS sessions: made for us alone, never one that others read."""

import contextlib
import fcntl
import os
import stat
from pathlib import Path

import pytest

from sozu_trio.errors import OperatorError
from sozu_trio.main.key_log import open_key_log


def times_open(path: Path) -> int:
    """How many descriptors of ours it has."""
    found = 0
    for link in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += link.readlink() == path
    return found


def refusal(path: Path) -> str:
    """Why it is; nothing stays open, and with `succeeds` it is only a warning."""
    before = times_open(path)
    with pytest.raises(OperatorError) as caught, open_key_log(path):
        raise AssertionError
    with open_key_log(path, succeeds=True) as descriptor:
        assert descriptor is None
    assert times_open(path) == before
    return str(caught.value)


def test_none_is_wanted() -> None:
    with open_key_log(None) as descriptor:
        assert descriptor is None


def test_it_is_made_for_us_alone_and_added_to(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    for line in (b"one\n", b"two\n"):
        with open_key_log(path) as descriptor:
            assert descriptor is not None
            assert not os.get_inheritable(descriptor)
            assert fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_APPEND
            os.write(descriptor, line)
    assert path.read_bytes() == b"one\ntwo\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o644, 0o620, 0o601])
def test_one_that_others_may_open_is_refused(tmp_path: Path, mode: int, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "keys"
    path.touch()
    path.chmod(mode)
    said = refusal(path)
    assert f"{path} belongs to uid {os.geteuid()} with mode {mode:o}; want one of uid {os.geteuid()}" in said
    assert caplog.messages == [said]


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    pipe, link, folder = tmp_path / "pipe", tmp_path / "link", tmp_path / "folder"
    os.mkfifo(pipe)
    link.symlink_to(tmp_path / "keys")
    folder.mkdir()
    for path, why in (
        (pipe, "No such device or address"),
        (link, "Too many levels of symbolic links"),
        (folder, "Is a directory"),
        (tmp_path / "absent" / "keys", "No such file or directory"),
        (Path("/dev/null"), "is no regular file"),
    ):
        assert why in refusal(path)
    assert not (tmp_path / "keys").exists()
