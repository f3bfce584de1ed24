"""A worker like any other, but that worker 1 turns on main once it serves: `hostile_main.py` starts it.

The environment says what it does, once: the first process that serves as worker 1 takes away the file that allows it,
before it is sealed; whoever comes in its place behaves.
"""

import json
import os
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from sozu_trio import worker_process
from sozu_trio.nursery.worker import Worker
from sozu_trio.telemetry.counters import Counters

DEED = "SOZU_TRIO_TEST_DEED"
"""One of DEEDS, or of ANSWERS, and so on."""
ALLOWED = "SOZU_TRIO_TEST_ALLOWED"
"""The file that is there as long as nobody has done it."""
DONE = b"it is done\n"
HUGE = "9" * 4300
"""Digits of the longest number that Python reads; two of that size add up to one it does not write."""
STAMP = "2026-01-31T12:00:00.000042Z 1 AUDIT MAIN\t"
ANSWERS: dict[str, Any] = {
    "answer with a number": 5,
    "answer with lists": [[1]],
    "answer with other members": {"counters": {"a": "x"}, "listeners": {"a": "b"}},
    "answer with what is missing": {"counters": {}},
}


def send(document: str) -> None:
    """To main, past everything that a worker is made of."""
    with socket.socket(fileno=os.dup(int(sys.argv[2]))) as sock:
        sock.send(b"i" + document.encode())


def send_memory(beginning: bytes, size: int, middle: bytes = b"") -> None:
    """A message of `size` bytes, of which those behind `beginning` are `middle` again and again, or a hole."""
    memory = os.memfd_create("message")
    os.write(memory, beginning + (middle * ((size - len(beginning)) // len(middle)) if middle else b""))
    os.ftruncate(memory, size)
    with socket.socket(fileno=os.dup(int(sys.argv[2]))) as sock:
        socket.send_fds(sock, [b"m"], [memory])
    os.close(memory)


def drop_beyond_measure() -> None:
    for _ in range(2):
        send(f'{{"Logged":{{"lines":[],"dropped":{HUGE}}}}}')


def count_beyond_measure() -> None:
    counters = ",".join(HUGE if number < 3 else "0" for number in range(len(Counters().numbers())))
    send(f'{{"Counted":{{"counters":[{counters}]}}}}')


def flood() -> None:
    """Until it is ended with the worker."""

    def go_on() -> None:
        while True:
            try:
                send('{"Stranded":{"left":1}}')
            except BlockingIOError:
                time.sleep(0.001)
            except OSError:
                return

    threading.Thread(target=go_on, daemon=True).start()


DEEDS: dict[str, Callable[[], object]] = {
    "drop lines beyond measure": drop_beyond_measure,
    "drop access lines beyond measure": lambda: send(f"Lines {HUGE}\n"),
    "drop fewer than none": lambda: send('{"Logged":{"lines":[],"dropped":-5}}'),
    "count beyond measure": count_beyond_measure,
    "send a large message": lambda: send_memory(b'{"Reply":{"serial":1,"content":[', 100 << 20),
    "send a message of holes": lambda: send_memory(b"", 1 << 30),
    "send a message of nothings": lambda: send_memory(b'{"Reply":{"serial":1,"content":[', 15 << 20, b"[],"),
    "send large lines": lambda: send_memory(b"Lines 0\n", 10 << 20),
    "answer what nobody has asked": lambda: send('{"Reply":{"serial":99999999}}'),
    "forge a line of main": lambda: send(json.dumps({"Logged": {"lines": [f"{STAMP}forged"], "dropped": 0}})),
    "forge lines behind another": lambda: send(json.dumps({"Logged": {"lines": [f"\x1b[2J\n{STAMP}"], "dropped": 0}})),
    "forge an access line": lambda: send(f"Lines 0\n{STAMP}forged"),
}
"""Each of which has main part with the worker."""
VIOLATIONS: dict[str, Callable[[], object]] = {
    "make a socket that is not allowed": lambda: socket.socket(socket.AF_UNIX)
}
"""For which the kernel kills where sandbox_violation says so."""
SILENCE = "say nothing any more"
"""Not even that the first generation is in force."""
FLOOD = "flood"
"""Which main puts up with; it begins once the worker has said that it accepts."""


def may() -> bool:
    """Whether this process is to do it."""
    if sys.argv[1] != "1":
        return False
    try:
        Path(os.environ[ALLOWED]).unlink()
    except FileNotFoundError:
        return False
    return True


async def act(deed: Callable[[], object]) -> None:
    os.write(2, DONE)
    deed()
    await trio.lowlevel.checkpoint()


class HostileProcess(worker_process.WorkerProcess):
    """Does it when the first generation is in force."""

    hostile = False

    def follow(self, generation: int, settings: Any) -> None:
        super().follow(generation, settings)
        deed = (DEEDS | VIOLATIONS).get(os.environ[DEED])
        if self.hostile and deed is not None:
            type(self).hostile = False
            trio.lowlevel.spawn_system_task(act, deed)
        if self.hostile and os.environ[DEED] == SILENCE:
            os.write(2, DONE)
            while True:
                time.sleep(1)


def flood_once_it_accepts() -> None:
    answer_next = Worker._answer_next

    async def answer_next_and_flood(worker: Worker, branches: Any) -> bool:
        answered = await answer_next(worker, branches)
        if HostileProcess.hostile and worker._listening.listeners:
            HostileProcess.hostile = False
            await act(flood)
        return answered

    setattr(Worker, "_answer_next", answer_next_and_flood)  # noqa: B010 - mypy refuses methods that are replaced


def main() -> None:
    worker_process.WorkerProcess = HostileProcess  # type: ignore[misc]
    HostileProcess.hostile = may()
    if HostileProcess.hostile and os.environ[DEED] in ANSWERS:

        async def look(*_: object) -> Any:
            return ANSWERS[os.environ[DEED]]

        setattr(Worker, "_look", look)  # noqa: B010 - no type has it
    if HostileProcess.hostile and os.environ[DEED] == FLOOD:
        flood_once_it_accepts()
    worker_process.main()


if __name__ == "__main__":
    main()
