"""Files that somebody names: read to their end, or refused without waiting for anybody."""

import os
from pathlib import Path

import pytest

from sozu_trio.config import regular
from sozu_trio.config.regular import read_beginning, read_regular


def test_a_file_is_read_to_its_end(tmp_path: Path) -> None:
    content = b"a\0\xff" * 500_000
    (tmp_path / "file").write_bytes(content)
    assert read_regular(tmp_path / "file") == content
    assert read_beginning(tmp_path / "file", 5) == content[:5]
    (tmp_path / "file").write_bytes(b"")
    assert (read_regular(tmp_path / "file"), read_beginning(tmp_path / "file", 5)) == (b"", b"")


def test_files_that_do_not_tell_their_size_are_read_as_well() -> None:
    assert Path("/proc/self/status").stat().st_size == 0
    assert read_regular(Path("/proc/self/status")).startswith(b"Name:")


def test_whatever_might_never_open_or_never_end_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, why in {
        tmp_path / "pipe": "it is no regular file",
        Path("/dev/zero"): "it is no regular file",
        tmp_path: "Is a directory",
        tmp_path / "none": "No such file or directory",
    }.items():
        for read in (read_regular, lambda path: read_beginning(path, 1)):
            with pytest.raises(OSError, match=why):
                read(path)


def test_what_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regular, "LARGEST", 10)
    (tmp_path / "file").write_bytes(b"x" * 10)
    assert read_regular(tmp_path / "file") == b"x" * 10
    (tmp_path / "file").write_bytes(b"x" * 11)
    with pytest.raises(OSError, match="it has more than 10 bytes"):
        read_regular(tmp_path / "file")
