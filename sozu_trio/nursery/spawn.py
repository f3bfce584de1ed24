"""Workers as processes.

A process must not be forked inside `trio.run`, so a fresh interpreter is started with the worker's end of the channel
and nothing else of ours: descriptors are closed on exec, and standard output and error are those of main, for a pipe
would break when main is gone.
"""

import os
import signal
import subprocess
import sys
from functools import partial
from typing import IO

import trio

from sozu_trio.control.channel import Channel
from sozu_trio.control.messages import Ask
from sozu_trio.nursery.crew import Spawned

TELL = signal.SIGUSR1
"""Has a worker write down where it is."""
TELLING = 0.2
"""Seconds it gets for that."""


class SpawnProcess:
    """A Spawn (`nursery/crew.py`): each worker is a process that runs `module`."""

    def __init__(self, module: str, *arguments: str) -> None:
        """`module` is run with the worker's id, the descriptors of its channel and of a file for where it is when it
        is told to tell, and `arguments`.
        """
        self._module = module
        self._arguments = arguments

    async def __call__(self, worker_id: int, channel: Channel[Ask], *, task_status: trio.TaskStatus[Spawned]) -> None:
        """Run a worker until it has ended; kill it when cancelled. Raises OSError when no process can be had."""
        with channel.detach() as sock, os.fdopen(os.memfd_create("where"), "r+b") as place:
            descriptors = sock.fileno(), place.fileno()
            command = [sys.executable, "-m", self._module, *map(str, (worker_id, *descriptors)), *self._arguments]
            process = await trio.lowlevel.open_process(command, stdin=subprocess.DEVNULL, pass_fds=descriptors)
            sock.close()
            try:
                task_status.started(Spawned(process.pid, partial(_where, process, place)))
                await process.wait()
            finally:
                if process.returncode is None:
                    process.kill()
                    with trio.CancelScope(shield=True):
                        await process.wait()


async def _where(process: trio.Process, place: IO[bytes]) -> str:
    """Where a process hangs, on one line, the innermost call first."""
    process.send_signal(TELL)
    await trio.sleep(TELLING)
    if place.closed:
        return "It has ended"
    told = os.pread(place.fileno(), 1 << 16, 0).decode(errors="replace")
    return " < ".join(line.strip() for line in told.splitlines()) or "It does not even tell where it is"
