"""Lines reach a slow, stuck or failing target without holding anybody up."""

import errno
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import trio

from sozu_trio.config.limits import GOODBYE
from sozu_trio.telemetry.lines import LineBuffer
from sozu_trio.telemetry.sink import COMPLAIN_EVERY, Batches, complain, lost_lines, serve_sink
from sozu_trio.telemetry.targets import File, Standard, Target
from sozu_trio.telemetry.writers import Descriptor, Writer

# Worker threads do real work here, and a clock that jumps knows nothing of threads; so these tests run on the real one.


class Paper:
    """A target that keeps what is written, fails on demand, and tells the loop."""

    def __init__(self) -> None:
        self.target: Target = Standard("stdout")
        self.batches: list[list[str]] = []
        self.failing: OSError | None = None
        self.reopened = 0
        self.meanwhile: Callable[[], None] | None = None
        """Happens once, in the loop, while something is written."""
        self.written = threading.Semaphore(0)

    def write(self, lines: list[str]) -> None:
        try:
            if self.failing:
                raise self.failing
            self.batches.append(lines)
            if self.meanwhile is not None:
                happens, self.meanwhile = self.meanwhile, None
                trio.from_thread.run_sync(happens)
        finally:
            self.written.release()

    def reopen(self) -> None:
        self.reopened += 1

    async def batch(self) -> None:
        """Until another batch was tried."""
        with trio.fail_after(5):
            await trio.to_thread.run_sync(self.written.acquire)


def lost(count: int) -> str:
    return f"{count} lost"


async def start(nursery: trio.Nursery, buffer: LineBuffer, paper: Paper) -> Callable[[], None]:
    batches: Batches = await nursery.start(partial(serve_sink, buffer, paper, lost=lost))
    return batches.reopen


async def test_lines_are_collected_and_written_together() -> None:
    buffer, paper = LineBuffer(10), Paper()
    buffer.append("before the loop")
    async with trio.open_nursery() as nursery:
        await start(nursery, buffer, paper)
        buffer.append("one")
        buffer.append("two")
        await paper.batch()
        buffer.append("three")
        await paper.batch()
        nursery.cancel_scope.cancel(reason="the end")
    assert paper.batches == [["before the loop", "one", "two"], ["three"]]


async def test_what_is_left_is_written_at_the_end() -> None:
    buffer, paper = LineBuffer(10), Paper()
    async with trio.open_nursery() as nursery:
        await start(nursery, buffer, paper)
        buffer.append("goodbye")
        nursery.cancel_scope.cancel(reason="the end")
    assert paper.batches == [["goodbye"]]


async def test_with_nothing_to_say_nothing_is_written() -> None:
    buffer, paper = LineBuffer(10), Paper()
    async with trio.open_nursery() as nursery:
        await start(nursery, buffer, paper)
        nursery.cancel_scope.cancel(reason="the end")
    assert paper.batches == []


async def test_dropped_lines_are_told_of_in_the_log() -> None:
    buffer, paper = LineBuffer(2), Paper()
    for line in "abcde":
        buffer.append(line)
    async with trio.open_nursery() as nursery:
        await start(nursery, buffer, paper)
        await paper.batch()
        buffer.append("f")
        await paper.batch()
        nursery.cancel_scope.cancel(reason="the end")
    assert paper.batches == [["a", "b", "3 lost"], ["f"]]


async def test_reopening_needs_no_line() -> None:
    buffer, paper = LineBuffer(2), Paper()
    async with trio.open_nursery() as nursery:
        reopen = await start(nursery, buffer, paper)
        reopen()
        await paper.batch()
        nursery.cancel_scope.cancel(reason="the end")
    assert (paper.reopened, paper.batches) == (1, [[]])


async def test_reopening_while_a_batch_is_written_needs_no_other_line() -> None:
    buffer, paper = LineBuffer(2), Paper()
    async with trio.open_nursery() as nursery:
        paper.meanwhile = await start(nursery, buffer, paper)
        buffer.append("line")
        await paper.batch()
        await paper.batch()
        nursery.cancel_scope.cancel(reason="the end")
    assert (paper.reopened, paper.batches) == (1, [["line"], []])


async def test_a_failing_target_costs_its_lines_and_nothing_else(capfd: pytest.CaptureFixture[str]) -> None:
    buffer, paper = LineBuffer(10), Paper()
    async with trio.open_nursery() as nursery:
        await start(nursery, buffer, paper)
        paper.failing = OSError(errno.ENOSPC, "No space left on device")
        for line in ("one", "two"):
            buffer.append(line)
            await paper.batch()
        buffer.append_block("in\na\nblock")
        await paper.batch()
        paper.failing = None
        buffer.append("three")
        await paper.batch()
        nursery.cancel_scope.cancel(reason="the end")
    assert paper.batches == [["three", "5 lost"]]
    assert buffer.dropped == 5
    assert capfd.readouterr().err == (
        "sozu_trio: log target stdout: [Errno 28] No space left on device; lines are dropped until it works again\n"
    )


def test_no_error_at_all_passes_the_sink(capfd: pytest.CaptureFixture[str]) -> None:
    buffer, paper = LineBuffer(10), Paper()
    batches = Batches(buffer, paper, "{:c}".format)
    buffer.append("one")
    buffer.drop(1 << 40)
    batches.write_one(0.0)
    assert paper.batches == []
    assert "log target stdout: " in capfd.readouterr().err


def test_complaints_are_rare(capfd: pytest.CaptureFixture[str]) -> None:
    buffer, paper = LineBuffer(10), Paper()
    paper.failing = OSError(errno.EIO, "Input/output error")
    batches = Batches(buffer, paper, lost)
    for now in (0.0, 1.0, COMPLAIN_EVERY - 1, COMPLAIN_EVERY, COMPLAIN_EVERY + 1):
        buffer.append("line")
        batches.write_one(now)
    assert capfd.readouterr().err.count("Input/output error") == 2


def test_the_default_notice_is_a_line_of_text() -> None:
    buffer, paper = LineBuffer(1), Paper()
    buffer.drop(3)
    Batches(buffer, paper, lost_lines).write_one(0.0)
    ((line,),) = paper.batches
    assert line.endswith(" WARN LOG\t3 lines are missing here: this log's target failed or was too slow")


def test_a_standard_error_that_is_full_or_closed_is_not_waited_for(capfd: pytest.CaptureFixture[str]) -> None:
    saved = os.dup(2)
    reading, writing = os.pipe()
    try:
        os.dup2(writing, 2)
        fill(writing)
        complain("nobody reads this")
        os.close(2)
        complain("nor this")
    finally:
        os.dup2(saved, 2)
        for fd in (saved, reading, writing):
            os.close(fd)
    assert capfd.readouterr().err == ""


def fill(fd: int) -> None:
    """Write into a pipe until it takes no more."""
    os.set_blocking(fd, False)
    try:
        while True:
            os.write(fd, b"x" * 65536)
    except BlockingIOError:
        os.set_blocking(fd, True)


async def test_a_stuck_target_blocks_neither_the_loop_nor_the_end() -> None:
    reading, writing = os.pipe()
    fill(writing)
    begun = threading.Event()

    def connect() -> Descriptor:
        begun.set()
        return Descriptor(writing, owned=False)

    writer = Writer(File(Path("pipe")), connect)
    buffer = LineBuffer(100)
    with trio.fail_after(GOODBYE + 3):
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_sink, buffer, writer)
            buffer.append("stuck")
            await trio.to_thread.run_sync(begun.wait, 5)
            for number in range(150):
                buffer.append(f"line {number}")
                await trio.lowlevel.checkpoint()
            assert buffer.dropped == 50
            nursery.cancel_scope.cancel(reason="the end")
    writer.close()  # does not wait for the thread either
    text = await trio.to_thread.run_sync(drain, reading)
    os.close(writing)
    os.close(reading)
    lines = text.strip("x").splitlines()
    assert lines[:2] == ["stuck", "line 0"]
    assert lines[-2] == "line 99"
    assert "50 lines are missing here" in lines[-1]


def drain(fd: int) -> str:
    """Read until the notice about missing lines has come: the threads left behind get on with their work."""
    got = bytearray()
    while not got.endswith(b"too slow\n"):
        got += os.read(fd, 65536)
    return got.decode()
