"""A worker like any other, but that worker 1 turns on main and its sibling, once: `hostile_main.py` starts it.

HOSTILE in the environment says how, HOSTILE_FLAG names a file: whoever removes that is the one. What it does it says on
standard error, after HOSTILE.
"""

import array
import contextlib
import fcntl
import mmap
import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import trio

from sozu_trio import worker_process
from sozu_trio.nursery import worker
from sozu_trio.nursery.orphan import introduce
from sozu_trio.nursery.tally import PAGE, REGION, SIZE

WAIT = 0.5
"""Seconds it serves before it turns."""
FLOOD = 2100
"""Listening sockets it says it has."""
kept: list[Any] = []


def say(*words: object) -> None:
    os.write(2, f"HOSTILE {' '.join(map(str, words))}\n".encode())


def descriptors_of(size: int) -> Iterator[int]:
    """Those of files of that size."""
    for descriptor in range(3, 200):
        with contextlib.suppress(OSError):
            if os.fstat(descriptor).st_size == size:
                yield descriptor


def attempt(what: str, act: Callable[[], object]) -> None:
    """Try it, and say what came of it."""
    try:
        act()
    except (OSError, ValueError) as error:
        say(what, "refused:", error)
    else:
        say(what, "done")


def scribble() -> None:
    """Write into what all count in whatever can be written, and try to cut it short."""
    for directory in descriptors_of(PAGE):
        attempt("directory", lambda at=directory: os.pwrite(at, b"\xff" * PAGE, 0))  # type: ignore[misc]
        attempt("directory", lambda at=directory: mmap.mmap(at, PAGE))  # type: ignore[misc]
        attempt("directory", lambda at=directory: os.ftruncate(at, 0))  # type: ignore[misc]
    for regions in descriptors_of(SIZE):
        attempt("regions", lambda at=regions: os.ftruncate(at, 0))  # type: ignore[misc]
        with mmap.mmap(regions, SIZE) as shared:
            shared[: 8 * REGION] = (b"\xff" * 7 + b"\x7f") * REGION


def listening() -> Iterator[socket.socket]:
    for descriptor in range(3, 200):
        with contextlib.suppress(OSError):
            sock = socket.socket(fileno=os.dup(descriptor))
            if sock.family == socket.AF_INET and sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                yield sock


def shut_down() -> None:
    """End what it listens on, which main has as well."""
    for sock in listening():
        sock.shutdown(socket.SHUT_RDWR)


def rewrite() -> None:
    """Write over what is in the log."""
    attempt("flags", lambda: fcntl.fcntl(2, fcntl.F_SETFL, 0))
    attempt("log", lambda: os.pwrite(2, b"REWRITTEN", 0))


def send_and_never_receive() -> None:
    """Have as many descriptors on the way as can be had."""
    many = array.array("i", [2] * 253)
    with contextlib.suppress(OSError):
        while True:
            pair = socket.socketpair()
            kept.extend(pair)
            pair[0].setblocking(False)
            with contextlib.suppress(BlockingIOError):
                while True:
                    pair[0].sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, many)])


ACTS = {
    "scribble": (scribble, True),
    "shut_down": (shut_down, True),
    "rewrite": (rewrite, False),
    "in_flight": (send_and_never_receive, False),
}
"""What it does, and whether it ends then."""


async def turn() -> None:
    await trio.sleep(WAIT)
    act, ends = ACTS[os.environ["HOSTILE"]]
    act()
    say("has acted")
    if ends:
        os._exit(1)


async def introduce_with_a_flood(channel: Any, itself: Any, held: Any, own: Any) -> None:
    """Name the first socket over and over, as that of others."""
    say("has acted")
    (_, key, sock), *_ = held
    await introduce(channel, itself, [*held, *((100 + number, key, sock) for number in range(FLOOD))], own)


class HostileProcess(worker_process.WorkerProcess):
    """Turns once the first generation is in force."""

    def follow(self, generation: int, settings: Any) -> None:
        super().follow(generation, settings)
        if generation == 1:
            trio.lowlevel.spawn_system_task(turn)


def main() -> None:
    # Only before it is sealed can it be found out.
    if sys.argv[1] == "1":
        with contextlib.suppress(FileNotFoundError):
            Path(os.environ["HOSTILE_FLAG"]).unlink()
            if os.environ["HOSTILE"] == "flood":
                vars(worker)["introduce"] = introduce_with_a_flood
            else:
                vars(worker_process)["WorkerProcess"] = HostileProcess
    worker_process.main()


if __name__ == "__main__":
    main()
