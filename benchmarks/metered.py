"""Main, with a meter on its loop: `python -m benchmarks.metered METER serve …` runs sozu_trio, and writes a line into
the file METER whenever a task has held the loop for more than a millisecond, or a garbage collection all threads:

    <seconds of CLOCK_MONOTONIC when it ended> <seconds by the clock> <seconds of CPU of that thread> <who>

Waiting for the interpreter's lock while a thread has it counts as holding, and so does waiting for a processor, which
seconds of CPU do not. Workers run without it; they measure themselves.
"""

import gc
import sys
import time
from typing import Any, Literal, TextIO

import trio

from sozu_trio.cli import main

WORTH_TELLING = 0.001


class Meter(trio.abc.Instrument):
    """Writes what it sees as it sees it: whoever reads does so while main runs."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._step = self._collection = (0.0, 0.0)

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._step = time.monotonic(), time.thread_time()

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        self._tell(self._step, task.name)

    def collects(self, phase: Literal["start", "stop"], info: dict[str, int]) -> None:
        """For `gc.callbacks`."""
        if phase == "start":
            self._collection = time.monotonic(), time.thread_time()
        else:
            self._tell(self._collection, f"garbage collection {info['generation']}")

    def _tell(self, began: tuple[float, float], who: str) -> None:
        now = time.monotonic()
        if now - began[0] > WORTH_TELLING:
            self._file.write(f"{now} {now - began[0]} {time.thread_time() - began[1]} {who}\n")


def metered(path: str) -> None:
    """Have every loop of this process measured from now on."""
    run = trio.run
    meter = Meter(open(path, "a", buffering=1))  # noqa: SIM115 - as long as the process
    gc.callbacks.append(meter.collects)

    def run_metered(*given: Any, **named: Any) -> Any:
        return run(*given, instruments=[meter], **named)

    trio.run = run_metered  # type: ignore[assignment]


if __name__ == "__main__":
    metered(sys.argv.pop(1))
    sys.exit(main())
