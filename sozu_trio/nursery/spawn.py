"""Workers as processes.

A process must not be forked inside `trio.run`, so a fresh interpreter is started with the worker's end of the channel,
its door (`nursery/door.py`) and nothing else of ours: descriptors are closed on exec. Standard error goes where
main's does, for a pipe would break when main is gone; what main says on standard output is not for workers to say.
"""

import contextlib
import errno
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Final

import trio

from sozu_trio.control.channel import Channel
from sozu_trio.control.messages import Ask
from sozu_trio.nursery.door import make_door, remove_door
from sozu_trio.nursery.exit_status import ended_with
from sozu_trio.nursery.kept_code import KeptCode
from sozu_trio.nursery.post import Spawned
from sozu_trio.nursery.where import where

log = logging.getLogger(__name__)

ENDING: Final = 0.2
"""Seconds one whose channel has ended gets to end by itself, so that it is known how."""

_RUN: Final = """
import os, sys
os.set_inheritable({code}, False)
sys.path.insert(0, "/proc/self/fd/{code}")
from {module} import main
main()
"""


class SpawnProcess:
    """A Spawn (`nursery/post.py`): each worker is a process that runs `module`."""

    def __init__(
        self, module: str, directory: Path, *arguments: str, code: KeptCode | None = None, key_log: int | None = None
    ) -> None:
        """`module` is run with the worker's id, the descriptors of its channel, of its door, which is in `directory`,
        of a file for where it is when it is told to tell, and `key_log` (-1 for None), and `arguments`; its `main` is
        called. It comes from `code`, once that is there, else from disk.
        """
        self._module = module
        self._directory = directory
        self._arguments = arguments
        self._code = code
        self._key_log = key_log

    async def __call__(self, worker_id: int, channel: Channel[Ask], *, task_status: trio.TaskStatus[Spawned]) -> None:
        """Run a worker until it has ended; kill it when cancelled. Raises OSError when no process can be had."""
        with channel.detach() as sock, os.fdopen(os.memfd_create("where"), "r+b") as place:
            door, path = make_door(self._directory, worker_id)
            try:
                with door:
                    descriptors = sock.fileno(), door.fileno(), place.fileno()
                    process = await self._start(worker_id, descriptors)
                sock.close()
                await _stay(worker_id, process, place.fileno(), task_status)
            finally:
                remove_door(path)

    async def _start(self, worker_id: int, descriptors: tuple[int, ...]) -> trio.Process:
        code = None if self._code is None else self._code.descriptor
        how = ["-m", self._module] if code is None else ["-c", _RUN.format(code=code, module=self._module)]
        keys = -1 if self._key_log is None else self._key_log
        command = [sys.executable, *how, *map(str, (worker_id, *descriptors, keys)), *self._arguments]
        given = [*descriptors, *(each for each in (code, self._key_log) if each is not None)]
        try:
            with _standard_error() as stderr:
                return await trio.lowlevel.open_process(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=stderr, pass_fds=given
                )
        except RuntimeError as error:
            # Trio forks in a thread, and the kernel counts threads as it counts processes.
            raise OSError(errno.EAGAIN, str(error)) from error


@contextlib.contextmanager
def _standard_error() -> Iterator[int | None]:
    """Ours, opened once more for a worker to append to: place and flags of one descriptor are those of all its copies,
    and a worker that could set them could write over what is there. None where it cannot be opened, as a socket.
    """
    try:
        opened = os.open("/proc/self/fd/2", os.O_WRONLY | os.O_APPEND | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        opened = None
    try:
        if opened is not None:
            os.set_blocking(opened, True)
        yield opened
    finally:
        if opened is not None:
            os.close(opened)


async def _stay(worker_id: int, process: trio.Process, place: int, task_status: trio.TaskStatus[Spawned]) -> None:
    try:
        task_status.started(Spawned(process.pid, partial(where, process.send_signal, place)))
        await process.wait()
    finally:
        with trio.move_on_after(ENDING, shield=True):
            if code := await process.wait():
                log.error("worker %d (pid %d) has ended with %s", worker_id, process.pid, ended_with(code))
        if process.returncode is None:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
