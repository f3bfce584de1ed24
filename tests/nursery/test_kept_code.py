"""The code a process runs, kept as a zip: all of it, and nothing else is needed to run it."""

import io
import os
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path

import pytest
import trio

from sozu_trio.nursery import kept_code
from sozu_trio.nursery.kept_code import KeptCode, seal, zipped_code
from tests.descriptors import open_descriptors

TELL = """
import sys
sys.path[:0] = [{path!r}]
import sozu_trio.worker_process, trio, h11, cattrs
print(sozu_trio.__file__, trio.__file__, h11.__file__)
"""


def run_from(descriptor: int) -> list[str]:
    """Where a process finds modules that looks there first."""
    command = [sys.executable, "-c", TELL.format(path=f"/proc/self/fd/{descriptor}")]
    run = subprocess.run(command, pass_fds=[descriptor], capture_output=True, text=True)
    assert run.stderr == ""
    return run.stdout.split()


async def test_a_process_can_run_from_it() -> None:
    code = KeptCode("sozu_trio.worker_process")
    assert code.descriptor is None
    await code.keep()
    descriptor = code.descriptor
    assert descriptor is not None
    assert not os.get_inheritable(descriptor)
    assert all(file.startswith(f"/proc/self/fd/{descriptor}/") for file in run_from(descriptor))
    await code.keep()
    assert code.descriptor == descriptor
    code.close()
    code.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


async def test_no_worker_can_change_it() -> None:
    code = KeptCode("json")
    await code.keep()
    assert code.descriptor is not None
    with pytest.raises(PermissionError):
        os.pwrite(code.descriptor, b"x", 0)
    for change in (partial(os.ftruncate, code.descriptor, 0), partial(seal, code.descriptor)):
        with pytest.raises(PermissionError):
            change()
    code.close()


async def test_one_that_this_process_runs_from_is_neither_made_anew_nor_closed(tmp_path: Path) -> None:
    descriptor = os.open(tmp_path, os.O_RDONLY)
    code = KeptCode("sozu_trio.worker_process", descriptor)
    await code.keep()
    code.close()
    assert code.descriptor == descriptor
    os.close(descriptor)


async def test_where_it_cannot_be_made_the_code_on_disk_has_to_do(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_rest: object) -> bytes:
        raise SyntaxError("half written")

    monkeypatch.setattr(kept_code, "zipped_code", fail)
    code = KeptCode("sozu_trio.worker_process")
    await code.keep()
    assert code.descriptor is None
    assert "the code cannot be kept" in caplog.text
    # What is on disk later may be other code.
    monkeypatch.undo()
    await code.keep()
    assert code.descriptor is None
    code.close()


async def test_it_is_made_once_however_many_wait_for_it() -> None:
    code = KeptCode("sozu_trio.worker_process")
    before = open_descriptors()
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(code.keep)
    assert len(open_descriptors() - before) == 1
    code.close()


def test_no_tests_and_nothing_of_the_standard_library() -> None:
    names = zipfile.ZipFile(io.BytesIO(zipped_code())).namelist()
    assert {"sozu_trio/__init__.pyc", "sozu_trio/nursery/kept_code.pyc", "trio/_core/_run.pyc"} <= set(names)
    assert not [name for name in names if "/_tests/" in name or name.startswith(("os.", "json/"))]
    assert len(names) == len(set(names))


def test_a_package_that_is_not_all_python_is_loaded_from_disk(tmp_path: Path) -> None:
    import cryptography.x509

    code = tmp_path / "code.zip"
    code.write_bytes(zipped_code())
    said = f"{TELL.format(path=str(code))}\nimport cryptography.x509\nprint(cryptography.__file__)"
    run = subprocess.run([sys.executable, "-c", said], capture_output=True, text=True)
    assert run.stderr == ""
    assert run.stdout.split()[-1] == cryptography.__file__


async def test_nobody_waits_for_it_to_end() -> None:
    code = KeptCode("sozu_trio.worker_process")
    with trio.move_on_after(0.01) as limit:
        await code.keep()
    assert limit.cancelled_caught == (code.descriptor is None)
    code.close()
