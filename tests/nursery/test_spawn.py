"""Workers as processes: started, told where to tell, ended with whoever asked for them."""

import os
import signal
import tempfile
from pathlib import Path

import pytest
import trio

from sozu_trio.config.program import Program
from sozu_trio.control.channel import channel_pair
from sozu_trio.control.messages import Begin, Reply, Sandboxed
from sozu_trio.nursery.door import doors_in
from sozu_trio.nursery.post import Spawned
from sozu_trio.nursery.sandbox import Sandbox
from sozu_trio.nursery.spawn import SpawnProcess
from tests.nursery.counting import REGIONS

PATIENCE = 30
DIRECTORY = Path(tempfile.mkdtemp())
spawn = SpawnProcess("sozu_trio.worker_process", DIRECTORY, "0", Sandbox(mode="off").argument())


@pytest.fixture(autouse=True)
def _bounded(nursery: trio.Nursery) -> None:
    nursery.cancel_scope.deadline = trio.current_time() + PATIENCE


def is_there(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def files_of(pid: int) -> set[str]:
    """The kinds of what it has open besides its standard streams."""
    links = [link for link in Path(f"/proc/{pid}/fd").iterdir() if int(link.name) > 2]
    return {os.readlink(link).partition(":")[0] for link in links}


async def test_a_worker_begins_answers_and_ends_when_main_is_gone(nursery: trio.Nursery) -> None:
    ours, theirs = channel_pair()
    over = trio.Event()

    async def run(*, task_status: trio.TaskStatus[Spawned]) -> None:
        await spawn(3, theirs, task_status=task_status)
        over.set()

    spawned: Spawned = await nursery.start(run)
    assert is_there(spawned.pid)
    assert spawned.pid != os.getpid()
    await ours.send(Begin(serial=1, worker_id=3, program=Program(), region=0), REGIONS.descriptors)
    assert await ours.receive() == (Sandboxed(), [])
    assert await ours.receive() == (Reply(serial=1), [])
    ours.close()
    await over.wait()
    assert not is_there(spawned.pid)


async def test_one_that_is_cancelled_is_killed_and_waited_for(nursery: trio.Nursery) -> None:
    ours, theirs = channel_pair()
    async with trio.open_nursery() as spawning:
        spawned: Spawned = await spawning.start(spawn, 0, theirs)
        spawning.cancel_scope.cancel(reason="enough")
    assert not is_there(spawned.pid)
    ours.close()


async def test_one_tells_where_it_is(nursery: trio.Nursery) -> None:
    ours, theirs = channel_pair()
    async with trio.open_nursery() as spawning:
        spawned: Spawned = await spawning.start(spawn, 0, theirs)
        await ours.send(Begin(serial=1, worker_id=0, program=Program(), region=0), REGIONS.descriptors)
        await ours.receive()
        assert spawned.where is not None
        told = await spawned.where()
        assert "most recent call first" in told
        assert "trio/_core" in told
        assert "\n" not in told
        os.kill(spawned.pid, signal.SIGSTOP)
        spawning.cancel_scope.cancel(reason="enough")
    ours.close()


async def test_one_that_is_stopped_tells_nothing(nursery: trio.Nursery) -> None:
    ours, theirs = channel_pair()
    async with trio.open_nursery() as spawning:
        spawned: Spawned = await spawning.start(spawn, 0, theirs)
        await ours.send(Begin(serial=1, worker_id=0, program=Program(), region=0), REGIONS.descriptors)
        await ours.receive()
        os.kill(spawned.pid, signal.SIGSTOP)
        assert spawned.where is not None
        assert await spawned.where() == "It does not even tell where it is"
        spawning.cancel_scope.cancel(reason="enough")
    ours.close()


async def test_one_has_nothing_of_ours_but_its_channel(nursery: trio.Nursery) -> None:
    ours, theirs = channel_pair()
    with tempfile.TemporaryFile() as file:
        os.set_inheritable(file.fileno(), True)
        async with trio.open_nursery() as spawning:
            spawned: Spawned = await spawning.start(spawn, 0, theirs)
            await ours.send(Begin(serial=1, worker_id=0, program=Program(), region=0), REGIONS.descriptors)
            await ours.receive()
            own = {f"/proc/{spawned.pid}/{name}" for name in ("fd", "statm")}
            assert files_of(spawned.pid) <= {"socket", "anon_inode", "/memfd", "/dev/null", *own}
            spawning.cancel_scope.cancel(reason="enough")
    ours.close()


async def test_without_room_for_another_thread_there_is_none_for_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    async def open_process(*_args: object, **_kwargs: object) -> trio.Process:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trio.lowlevel, "open_process", open_process)
    ours, theirs = channel_pair()
    async with trio.open_nursery() as spawning:
        with pytest.raises(BlockingIOError, match="can't start new thread"):
            await spawning.start(spawn, 0, theirs)
    assert doors_in(DIRECTORY) == []
    ours.close()
