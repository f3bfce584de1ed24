"""Files that clients name: read whole, or refused without waiting for anybody."""

import os
from pathlib import Path

import pytest

from sozu_trio.errors import OperatorError
from sozu_trio.main.files import absolute, read_whole


def test_a_path_means_the_same_to_everybody() -> None:
    assert absolute("/a/../b") == Path("/a/../b")


@pytest.mark.parametrize("given", ["", "a", "./a", "~/a", "/a\0"])
def test_other_paths_are_refused(given: str) -> None:
    with pytest.raises(OperatorError, match=r"file: found .*; want an absolute path"):
        absolute(given)


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_a_file_is_read_to_its_end(tmp_path: Path, mark: bytes) -> None:
    content = b"a\0\xff" * 50_000
    (tmp_path / "file").write_bytes(mark + content)
    assert read_whole(tmp_path / "file") == content


def test_whatever_might_never_end_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OperatorError, match=f"file: cannot read {path}: it is no regular file"):
            read_whole(path)


@pytest.mark.parametrize(("path", "why"), [("/nowhere/file", "No such file or directory"), ("/", "Is a directory")])
def test_what_cannot_be_read(path: str, why: str) -> None:
    with pytest.raises(OperatorError, match=f"file: cannot read {path}: {why}"):
        read_whole(Path(path))
