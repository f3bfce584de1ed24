"""A worker as main sees it: asked, answered or refused, and never waited for in vain."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.control.channel import Channel, channel_pair
from sozu_trio.control.messages import Ask, Commit, Lines, Listen, Reply, Stop, Stopped
from sozu_trio.errors import ChannelError
from sozu_trio.nursery.workers import WorkerHandle, WorkerRefused

pytestmark = pytest.mark.virtual_time


@asynccontextmanager
async def handle(lines: list[Lines]) -> AsyncIterator[tuple[WorkerHandle, Channel[Ask]]]:
    """A handle that runs, and the end its worker would have."""
    ours, theirs = channel_pair()
    made = WorkerHandle(2, ours, lines.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        yield made, theirs
    theirs.close()


async def commit(worker: WorkerHandle) -> None:
    await worker.ask(lambda serial: Commit(serial=serial, generation=1))


async def next_serial(channel: Channel[Ask]) -> int:
    received = await channel.receive()
    assert received is not None
    return received[0].serial


async def test_who_is_answered_goes_on() -> None:
    async with handle([]) as (worker, channel):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(commit, worker)
            await channel.send(Reply(serial=await next_serial(channel)))
        await channel.send(Stopped(cut=4))
    assert worker.stopped == Stopped(cut=4)


async def test_each_gets_the_answer_to_its_own_question() -> None:
    outcomes: dict[str, str] = {}

    async def ask(worker: WorkerHandle, name: str) -> None:
        try:
            await commit(worker)
            outcomes[name] = "done"
        except WorkerRefused as refused:
            outcomes[name] = str(refused)

    async with handle([]) as (worker, channel):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, worker, "first")
            first = await next_serial(channel)
            nursery.start_soon(ask, worker, "second")
            second = await next_serial(channel)
            await channel.send(Reply(serial=second))
            await channel.send(Reply(serial=first, failure="not now"))
        await channel.send(Stopped(cut=0))
    assert outcomes == {"first": "worker 2: not now", "second": "done"}


async def test_lines_go_where_they_belong() -> None:
    lines: list[Lines] = []
    async with handle(lines) as (_, channel):
        await channel.send(Lines(lines="a\nb", dropped=3))
        await channel.send(Stopped(cut=0))
    assert lines == [Lines(lines="a\nb", dropped=3)]


async def test_an_answer_nobody_waits_for_any_more_is_forgotten() -> None:
    async with handle([]) as (worker, channel):
        with trio.move_on_after(1):
            await commit(worker)
        await channel.send(Reply(serial=await next_serial(channel)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(commit, worker)
            await channel.send(Reply(serial=await next_serial(channel)))
        await channel.send(Stopped(cut=0))


async def test_a_worker_that_stops_without_an_answer_refuses() -> None:
    async with handle([]) as (worker, channel), trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(WorkerRefused, match="worker 2 has stopped"):
                await worker.ask(lambda serial: Stop(serial=serial, grace=0))

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await channel.send(Stopped(cut=0))


async def test_a_worker_that_has_stopped_refuses() -> None:
    async with handle([]) as (worker, channel):
        await channel.send(Stopped(cut=0))
        await wait_all_tasks_blocked()
        with pytest.raises(WorkerRefused, match="worker 2 has stopped"):
            await commit(worker)


async def test_what_a_worker_said_last_counts_though_it_could_not_be_asked_any_more() -> None:
    ours, theirs = channel_pair()
    worker = WorkerHandle(2, ours, print)
    await theirs.send(Stopped(cut=1))
    theirs.close()
    async with trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(WorkerRefused, match="worker 2 has stopped"):
                await commit(worker)

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await worker.run()
    assert worker.stopped == Stopped(cut=1)


async def test_a_worker_that_goes_without_a_word_is_an_error() -> None:
    ours, theirs = channel_pair()
    worker = WorkerHandle(2, ours, print)
    theirs.close()
    with pytest.raises(ChannelError, match="worker 2 is gone"):
        await worker.run()
    assert worker.stopped is None
    with pytest.raises(WorkerRefused, match="worker 2 has stopped"):
        await commit(worker)


async def test_a_message_that_cannot_be_sent_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def memfd_create(name: str, flags: int) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("os.memfd_create", memfd_create)
    async with handle([]) as (worker, channel):
        with pytest.raises(WorkerRefused, match=r"worker 2 cannot be told: .*Too many open files"):
            await worker.ask(lambda serial: Listen(serial=serial, transport="t" * 100_000, address=Address("::1", 1)))
        await channel.send(Stopped(cut=0))
