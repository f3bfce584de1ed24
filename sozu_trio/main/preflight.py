"""New code has to show that it can take over before it does: it runs as a child, with what this main has, and says that
it is ready. Nothing is changed by that, whatever it does.

The question is a JSON document in a memfd, which the child (`cli/preflight.py`) replaces by its answer.
"""

import json
import os
import subprocess
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import trio

from sozu_trio.control.codec import converter
from sozu_trio.control.messages import PROTOCOL
from sozu_trio.errors import OperatorError
from sozu_trio.main.handoff import FORMAT
from sozu_trio.main.launch import Launch, in_module
from sozu_trio.main.parts import Parts
from sozu_trio.nursery.kept_code import code_file, seal

PATIENCE: Final = 30.0
"""Seconds it gets."""
LAST_WORDS: Final = 0.2
"""Seconds that what it wrote may take to arrive once it has ended."""
KEPT: Final = 4096
"""Bytes of its output that are kept, the last ones."""
SHOWN: Final = 10
"""Lines of it that are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """New code that can take over: its version, the global keys as it has read them (`Program`, as JSON), and a
    descriptor of the code itself, as `KeptCode` has it: what has been tried is what will run, whatever happens to the
    files.
    """

    version: str
    program: Any
    code: int


@asynccontextmanager
async def preflight(parts: Parts, launch: Launch, executable: str) -> AsyncIterator[Ready]:
    """Have the code that `executable` finds show that it can take over, which the value says while the body runs.

    Raises OperatorError with its last words.
    """
    question = {
        "format": FORMAT,
        "protocol": PROTOCOL,
        "config": parts.config_path,
        "journal": str(parts.journal.path),
        "program": converter.unstructure(parts.config.program),
    }
    with ExitStack() as papers:
        try:
            paper = papers.enter_context(os.fdopen(os.memfd_create("sozu_trio preflight"), "w+b"))
            kept = papers.enter_context(os.fdopen(code_file(), "rb"))
            paper.write(json.dumps(question).encode())
            paper.flush()
            code = f"from sozu_trio.cli.preflight import main\nmain({paper.fileno()}, {kept.fileno()})"
            command = [executable, *launch.flags, *in_module(launch.path, code)]
            ended, words = await _run(command, [paper.fileno(), kept.fileno()])
            _seal(kept.fileno())
            paper.seek(0)
            answer = paper.read()
        except (OSError, RuntimeError) as error:  # the latter where no thread can be had
            raise OperatorError(f"the new code cannot be tried, nothing has changed: {error}") from error
        yield _judge(ended, answer, kept.fileno(), words)


def _seal(code: int) -> None:
    """Nobody changes what has been tried: not what the child may have left behind, and no worker."""
    try:
        seal(code)
    except OSError as error:
        raise OperatorError(f"the new code cannot be sealed, nothing has changed: {error.strerror}") from error


def _judge(ended: int | None, answer: bytes, code: int, words: str) -> Ready:
    try:
        document = json.loads(answer)
        ready = Ready(version=str(document["ready"]), program=document["read"], code=code)
    except (ValueError, KeyError, TypeError):
        ready = None
    if ended is None:
        why = f"it said nothing within {PATIENCE:g} s"
    elif ended:
        why = f"it ended with exit code {ended}" if ended > 0 else f"it was ended by signal {-ended}"
    else:
        why = "it ended without saying that it is ready"
    if ready is None or ended != 0:
        raise OperatorError(f"the new code cannot take over, nothing has changed: {why}{words}")
    return ready


async def _run(command: list[str], descriptors: list[int]) -> tuple[int | None, str]:
    """Its exit code, None where it had to be killed, and what it said last."""
    said = bytearray()
    try:
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=descriptors,
        )
    except OSError as error:
        raise OperatorError(f"python: cannot run {command[0]}: {error.strerror}") from error
    try:
        async with trio.open_nursery() as reading:
            reading.start_soon(_read, process, said)
            with trio.move_on_after(PATIENCE):
                await process.wait()
            reading.cancel_scope.deadline = trio.current_time() + LAST_WORDS
    finally:
        ended = process.returncode
        if ended is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
        if process.stdout is not None:
            await trio.aclose_forcefully(process.stdout)
    return ended, _last_lines(said)


async def _read(process: trio.Process, said: bytearray) -> None:
    assert process.stdout is not None
    async for data in process.stdout:
        said += data
        del said[:-KEPT]


def _last_lines(said: bytearray) -> str:
    lines = said.decode(errors="replace").splitlines()[-SHOWN:]
    return "".join(f"\n  {line}" for line in lines)


def fit_to_run(path: str) -> None:
    """Raises OperatorError for what cannot be an interpreter."""
    if not path.startswith("/") or "\0" in path:
        raise OperatorError(f"python: found {path!r}; want the absolute path of an interpreter")
    if not os.access(path, os.X_OK) or Path(path).is_dir():
        raise OperatorError(f"python: found {path!r}, where there is nothing that can be run; want an interpreter")
