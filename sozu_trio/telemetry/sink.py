"""Takes lines out of a LineBuffer and has them written, batch by batch, by a worker thread.

A target may be as slow or as stuck as it likes: the thread waits, the buffer fills, lines are dropped and counted,
and the loop never notices. What was lost is said in the log itself with the next batch that gets through. The batch
is taken *in* the thread, and only by the one whose turn it is: so lines keep their order, and none is lost between a
cancellation and a thread that never started.
"""

import os
import select
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import trio

from sozu_trio.config.limits import GOODBYE, LOG_FLUSH
from sozu_trio.telemetry.escape import printable
from sozu_trio.telemetry.lines import LineBuffer, lines_in
from sozu_trio.telemetry.stamp import Stamp
from sozu_trio.telemetry.targets import Target

COMPLAIN_EVERY = 60.0
"""Seconds between two complaints on standard error about the same target."""


class Writes(Protocol):
    """What a sink asks of `telemetry.writers.Writer`."""

    target: Target

    def write(self, lines: list[str]) -> None: ...
    def reopen(self) -> None: ...


def lost_lines(count: int) -> str:
    """The line that says how many lines are missing from a log of text."""
    return Stamp("LOG").line(
        time.time(), "WARN", f"{count} lines are missing here: this log's target failed or was too slow"
    )


async def serve_sink(
    buffer: LineBuffer,
    writer: Writes,
    *,
    lost: Callable[[int], str] = lost_lines,
    task_status: "trio.TaskStatus[Batches]" = trio.TASK_STATUS_IGNORED,
) -> None:
    """Write what comes into `buffer` until cancelled, then what is left, for at most GOODBYE seconds.

    `task_status` gets what takes the lines out. `lost` makes the line for a number of missing ones. The writer stays
    open: close it after the sink has ended.
    """
    batches = Batches(buffer, writer, lost)
    task_status.started(batches)
    try:
        while True:
            if not batches.is_asked:
                await buffer.wait()
            await trio.sleep(LOG_FLUSH)
            await batches.flush()
    finally:
        with trio.move_on_after(GOODBYE, shield=True):
            await batches.flush()


class Batches:
    """Writes one batch at a time and remembers which losses it has told of. `write_one` is for worker threads."""

    def __init__(self, buffer: LineBuffer, writer: Writes, lost: Callable[[int], str]) -> None:
        self._buffer = buffer
        self._writer = writer
        self._lost = lost
        self._told = 0
        self.is_asked = False
        """To reopen the target; perhaps while the last batch was written, when nobody was there to be woken."""
        self._quiet_until = float("-inf")
        self._turn = threading.Lock()

    async def flush(self) -> None:
        """Have everything written that there is now, in a thread, which is left behind by who is cancelled."""
        await trio.to_thread.run_sync(self.write_one, trio.current_time(), abandon_on_cancel=True)

    def reopen(self) -> None:
        """Have the target opened anew, also when there is nothing to write; does not block."""
        self._writer.reopen()
        self.is_asked = True
        self._buffer.wake()

    def write_one(self, now: float) -> None:
        """Write everything there is. An error, whatever it is, is told on standard error and its lines are counted as
        dropped: main is not to end because of its log.
        """
        with self._turn:
            dropped = self._buffer.dropped
            lines = self._buffer.take(self._buffer.capacity)
            if not (lines or dropped > self._told or self.is_asked):
                return
            self.is_asked = False
            try:
                told = [self._lost(dropped - self._told)] if dropped > self._told else []
                self._writer.write(lines + told)
            except Exception as error:
                self._buffer.drop(sum(map(lines_in, lines)))
                self._complain(error, now)
            else:
                self._told = dropped

    def _complain(self, error: Exception, now: float) -> None:
        if now >= self._quiet_until:
            self._quiet_until = now + COMPLAIN_EVERY
            why = printable(str(error))
            complain(f"sozu_trio: log target {self._writer.target}: {why}; lines are dropped until it works again")


def complain(message: str) -> None:
    """One line on standard error, if it can be written without waiting."""
    with suppress(OSError):
        if select.select([], [2], [], 0)[1]:
            os.write(2, f"{message}\n".encode())
