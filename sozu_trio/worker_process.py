"""The process of a worker, and the composition root of all that is in it.

`python -m sozu_trio.worker_process ID CHANNEL DOOR PLACE KEYS COLORED SANDBOX [ROOM]`: the worker's id, the descriptors
of its end of the channel, of its door, of the file it tells in where it is, and of the one that takes the secrets of
TLS sessions (-1 for none), whether its log has colours (0 or 1), its sandbox (`nursery/sandbox.py`), and room for its
title (`nursery/title.py`). Main starts it, with `nursery/spawn.py`.
"""

import faulthandler
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from functools import partial

import trio

from sozu_trio.config.descriptors import limit_descriptors
from sozu_trio.config.memory import group_limit
from sozu_trio.config.program import Program, Settings
from sozu_trio.control.channel import Channel
from sozu_trio.control.messages import ASKS, Ask, Sandboxed
from sozu_trio.nursery.arrival import OPEN
from sozu_trio.nursery.garbage import begin_to_serve
from sozu_trio.nursery.memory import open_statm, resident
from sozu_trio.nursery.orphan import Door
from sozu_trio.nursery.sandbox import read_sandbox
from sozu_trio.nursery.sealing import seal, tell
from sozu_trio.nursery.title import Title, call_thread
from sozu_trio.nursery.where import TELL
from sozu_trio.nursery.worker import serve_worker
from sozu_trio.proxy.doors import ProxyHandler
from sozu_trio.telemetry.lines import LineBuffer
from sozu_trio.telemetry.worker_log import WorkerLog
from sozu_trio.tls.garbage_names import drop_lines_about_garbage_names
from sozu_trio.tls.key_log import KeyLog

MAINS_BUSINESS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR2)
"""A terminal, or whoever signals a whole group, means main; a worker that ended by itself would cut its sessions."""


def main() -> None:
    """Serve until main says stop, or is gone and nobody comes in its place."""
    worker_id, descriptor, door, place, keys, colored = map(int, sys.argv[1:7])
    for number in MAINS_BUSINESS:
        signal.signal(number, signal.SIG_IGN)
    faulthandler.register(TELL, place)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    limit_descriptors()
    drop_lines_about_garbage_names()
    log = WorkerLog()
    key_log = None if keys < 0 else KeyLog(keys)
    for each in (descriptor, door, place, *([] if keys < 0 else [keys])):
        os.set_inheritable(each, False)
    with socket.socket(fileno=descriptor) as sock, log.serve(worker_id, colored=bool(colored)):
        process = WorkerProcess(worker_id, log, Door(socket.socket(fileno=door)), place)
        # Now that everything is open, and before there is a second thread.
        process.sandbox = seal(read_sandbox(sys.argv[7]), key_log=key_log is not None)
        trio.run(_serve, sock, process, key_log)


class WorkerProcess:
    """What a worker does that is a process (OwnProcess in `nursery/handler.py`)."""

    def __init__(self, worker_id: int, log: WorkerLog, door: Door, place: int) -> None:
        self.place = place
        self.listing = os.open(OPEN, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.sandbox = Sandboxed()
        self.group_limit = group_limit()
        self._statm = open_statm()
        self._log = log
        self._door = door
        self._worker_id = worker_id
        self._serves = False
        self._title = Title()
        self._title.show(f"sozu-trio: worker {worker_id}")
        call_thread(f"sozu-trio: w{worker_id}")

    @property
    def lines(self) -> LineBuffer:
        return self._log.lines

    def resident(self) -> int:
        return resident(self._statm)

    async def next_main(self, introduce: Callable[[Channel[Ask]], Awaitable[None]]) -> Channel[Ask]:
        return await self._door.next_main(introduce)

    def close_door(self) -> None:
        self._door.close()

    def begin(self, program: Program) -> None:
        self._log.begin(program)
        tell(self.sandbox)

    def follow(self, generation: int, settings: Settings) -> None:
        self._log.follow(settings)
        self._title.show(f"sozu-trio: worker {self._worker_id} (generation {generation})")
        if not self._serves:
            self._serves = True
            begin_to_serve()


async def _serve(sock: socket.socket, process: WorkerProcess, key_log: KeyLog | None) -> None:
    await serve_worker(Channel(sock, ASKS), partial(ProxyHandler, key_log=key_log), process)


if __name__ == "__main__":
    main()
