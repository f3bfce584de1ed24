"""New code has to show that it can take over; what else it does changes nothing."""

import errno
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from sozu_trio import __version__
from sozu_trio.config.program import Program
from sozu_trio.control.codec import converter
from sozu_trio.errors import OperatorError
from sozu_trio.main import preflight as module
from sozu_trio.main.launch import Launch
from sozu_trio.main.preflight import fit_to_run, preflight
from tests.main.running import running, write

LAUNCH = Launch(executable=sys.executable, flags=(), arguments=(), path=str(Path(__file__).parents[2]), title=())


async def tried(folder: Path, program: str) -> tuple[str, object, int]:
    """Version, global keys and bytes of the code, where main runs in `folder`."""
    async with running(write(folder)) as main, preflight(main.parts, LAUNCH, program) as ready:
        with pytest.raises(PermissionError):
            os.ftruncate(ready.code, 0)  # no worker can change it
        return ready.version, converter.structure(ready.program, Program), os.fstat(ready.code).st_size


def script(folder: Path, text: str) -> str:
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(stat.S_IRWXU)
    return str(path)


async def refusal(folder: Path, program: str, lack: Callable[[], None] = lambda: None) -> str:
    """`lack` is called when main serves."""
    async with running(write(folder)) as main:
        lack()
        with pytest.raises(OperatorError) as refused:
            async with preflight(main.parts, LAUNCH, program):
                pass
        return str(refused.value)


async def test_code_that_can_take_over_says_so_and_comes_along(tmp_path: Path) -> None:
    version, program, size = await tried(tmp_path, sys.executable)
    assert version == __version__
    assert isinstance(program, Program)
    assert program.worker_count == 1
    assert size > 100_000


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("echo one; echo two >&2; exit 3", "it ended with exit code 3\n  one\n  two"),
        ("kill -TERM $$", "it was ended by signal 15"),
        ("exit 0", "it ended without saying that it is ready"),
        ("yes | head -n 100000; exit 1", "it ended with exit code 1" + "\n  y" * 10),
    ],
)
async def test_what_ends_otherwise_is_told_with_its_last_lines(tmp_path: Path, text: str, why: str) -> None:
    said = await refusal(tmp_path, script(tmp_path, text))
    assert said == f"the new code cannot take over, nothing has changed: {why}"


async def test_what_hangs_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.3)
    assert "it said nothing within 0.3 s" in await refusal(tmp_path, script(tmp_path, "exec sleep 60"))


async def test_what_is_no_program_is_told(tmp_path: Path) -> None:
    path = Path(script(tmp_path, ""))
    await trio.Path(path).write_text("no program")
    assert await refusal(tmp_path, str(path)) == f"python: cannot run {path}: Exec format error"


@pytest.mark.parametrize(
    ("where", "what", "error"),
    [
        (os, "memfd_create", OSError(errno.EMFILE, "Too many open files")),
        (trio.lowlevel, "open_process", RuntimeError("can't start new thread")),
    ],
    ids=["descriptor", "thread"],
)
async def test_what_main_lacks_for_a_trial_is_told(
    tmp_path: Path, where: object, what: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lack(*_args: object, **_options: object) -> None:
        raise error

    said = await refusal(tmp_path, sys.executable, lambda: monkeypatch.setattr(where, what, lack))
    assert said == f"the new code cannot be tried, nothing has changed: {error}"


async def test_code_of_another_kind_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PROTOCOL", 999)
    said = await refusal(tmp_path, sys.executable)
    assert f"version {__version__} cannot talk to what runs now" in said
    assert "which speak 999 and 3); want a stop and a start" in said


@pytest.mark.parametrize("path", ["python3", "", "/nowhere/python", "/etc/passwd", "/tmp", "/a\0b"])
def test_what_cannot_be_an_interpreter_is_refused(path: str) -> None:
    with pytest.raises(OperatorError, match=r"^python: found .*; want "):
        fit_to_run(path)


def test_an_interpreter_is_fit() -> None:
    fit_to_run(sys.executable)
