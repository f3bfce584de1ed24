"""What is seen of a main and its workers: who there is, what they take, who is left, how long nobody answered."""

import itertools
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from benchmarks.upgrade_drill.watching import EVERY, Watch, birth, measured
from sozu_trio.control.answering import Answer, Progress
from sozu_trio.control.protocol import Request
from sozu_trio.errors import ControlError
from tests.control.conversing import open_control

Status = dict[str, Any]


@contextmanager
def child(code: str = "") -> "Iterator[subprocess.Popen[bytes]]":
    """A process that has run `code` and now waits until the body is over."""
    program = f"{code}\nimport sys\nprint(flush=True)\nsys.stdin.read()"
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


def status_of(main: int, workers: Mapping[int, str]) -> Status:
    """As ctl shows it; `workers`: pid → state."""
    each = [{"id": number, "pid": pid, "state": state} for number, (pid, state) in enumerate(workers.items())]
    return {"main": {"pid": main}, "workers": each}


@asynccontextmanager
async def watching(folder: Path, statuses: Iterator[Status]) -> AsyncIterator[Watch]:
    """A watch at a server that says one status after the other, and the last one again and again."""
    last: list[Status] = []

    async def status(_request: Request, _progress: Progress) -> Answer:
        last[:] = [next(statuses, *last)]
        return Answer("status", last[0])

    async with open_control(folder) as control, trio.open_nursery() as nursery:
        control.answers.verbs["status"] = status
        watch = Watch(control.path)
        await nursery.start(watch.run)
        yield watch
        nursery.cancel_scope.cancel(reason="the test is over")


async def until(happened: Callable[[], bool]) -> None:
    """Look as often as the watch does. Raises TooSlowError after 10 s."""
    with trio.fail_after(10):
        while not happened():  # noqa: ASYNC110 - it is not told to anybody
            await trio.sleep(EVERY)


def test_memory_and_descriptors() -> None:
    with (
        child() as idle,
        child("import os\nkept = bytearray(os.urandom(32 << 20))\nfds = [os.dup(0) for _ in range(9)]") as busy,
    ):
        (memory, few), (more, many) = measured([idle.pid]), measured([busy.pid])
        both, all_of_them = measured([idle.pid, busy.pid])
    assert memory is not None
    assert more is not None
    assert both is not None
    assert more - memory > 30 << 20
    assert many - few == 9
    assert all_of_them == many + few
    assert abs(both - memory - more) < 4 << 20


def test_who_has_ended_takes_nothing() -> None:
    with child() as process:
        pass
    assert measured([process.pid]) == (0, 0)
    assert birth(process.pid) == ""


def test_who_has_ended_and_is_not_waited_for_is_not_left_behind() -> None:
    with child() as process:
        assert birth(process.pid)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert birth(process.pid) == ""


async def test_workers_that_drain_are_not_counted(tmp_path: Path) -> None:
    states = ({1: "running"}, {1: "running", 2: "behind", 3: "running"}, {1: "stopping", 2: "running"})
    statuses = [status_of(os.getpid(), workers) for workers in states]
    async with watching(tmp_path, iter(statuses)) as watch:
        await until(lambda: watch.status == statuses[-1])
        assert watch.most_workers == 3
        assert (await watch.sample()).workers == 1
        watch.begin()
        assert watch.most_workers == 0


async def test_left_behind(tmp_path: Path) -> None:
    with child() as main, child() as old, child() as new:
        before = status_of(main.pid, {old.pid: "running"})
        after = status_of(main.pid, {new.pid: "running"})
        async with watching(tmp_path, itertools.chain([before] * 10, [after])) as watch:
            await until(lambda: watch.left_behind(draining=True) == [old.pid])
            sample = await watch.sample()
            assert sample.memory
            assert 0 < sample.memory <= watch.peak * 2
            old.kill()
            old.wait()
            assert watch.left_behind(draining=True) == []


async def test_those_that_drain_are_left_behind_where_nobody_is_connected(tmp_path: Path) -> None:
    with child() as main, child() as old:
        status = status_of(main.pid, {old.pid: "stopping"})
        async with watching(tmp_path, iter([status])) as watch:
            await until(lambda: watch.left_behind(draining=True) == [old.pid])
            assert watch.left_behind(draining=False) == []


async def test_nobody_is_there(tmp_path: Path) -> None:
    with pytest.raises(ControlError, match="no proxy listens"):
        await Watch(tmp_path / "sock").run(task_status=trio.TASK_STATUS_IGNORED)


async def test_how_long_nobody_answered(tmp_path: Path) -> None:
    status = status_of(os.getpid(), {})

    async def answer(_request: Request, _progress: Progress) -> Answer:
        return Answer("status", status)

    async with trio.open_nursery() as nursery:
        async with open_control(tmp_path) as control:
            control.answers.verbs["status"] = answer
            watch = Watch(control.path)
            await nursery.start(watch.run)
        gone = trio.current_time()
        await trio.sleep(0.5)
        async with open_control(tmp_path) as control:
            control.answers.verbs["status"] = answer
            await until(lambda: watch.away > 0.3)
            assert watch.away < trio.current_time() - gone + 2 * EVERY
            nursery.cancel_scope.cancel(reason="the test is over")
