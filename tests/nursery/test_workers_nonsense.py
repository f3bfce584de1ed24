"""What a worker says that makes no sense, or too much of it: named, bounded, and the end of it where it has to be."""

import os
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.control.channel import channel_pair
from sozu_trio.control.messages import (
    Commit,
    Counted,
    Lines,
    Logged,
    Look,
    Reply,
    Report,
    Stopped,
    Stranded,
)
from sozu_trio.errors import ChannelError
from sozu_trio.nursery.attention import AT_ONCE, SHARE
from sozu_trio.nursery.workers import WorkerHandle, WorkerRefused, WorkerSilent
from tests.nursery.handles import OWN, Heard, commit, handle, make_handle, next_serial

pytestmark = pytest.mark.virtual_time


async def test_who_has_said_what_is_no_message_is_named() -> None:
    ours, theirs = channel_pair()
    await theirs.send(Commit(serial=1, generation=2))
    with pytest.raises(ChannelError, match="worker 2: not a message"):
        await make_handle(ours, Heard()).run()
    theirs.close()


async def test_what_is_no_answer_to_the_question_makes_no_sense() -> None:
    ours, theirs = channel_pair()
    worker = make_handle(ours, Heard())

    async def look() -> None:
        with pytest.raises(WorkerSilent):
            await worker.ask(partial(Look, what="sessions", query={}))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await theirs.send(Reply(serial=await next_serial(theirs), content=5))
        with pytest.raises(ChannelError, match="worker 2: no answer to a look at sessions: int"):
            await worker.run()
    theirs.close()


async def test_why_a_worker_refuses_is_told_on_one_line_that_is_not_too_long() -> None:
    refused: list[str] = []

    async def ask(worker: WorkerHandle) -> None:
        with pytest.raises(WorkerRefused) as raised:
            await commit(worker)
        refused.append(str(raised.value))

    async with handle() as (worker, channel):
        for failure in ("a\n\x1b[2Jb", "x" * 50_000):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask, worker)
                await channel.send(Reply(serial=await next_serial(channel), failure=failure))
        await channel.send(Stopped(cut=0))
    assert refused == ["worker 2: a\\n\\x1b[2Jb", "worker 2: " + "x" * 10_000]


async def test_a_question_that_was_passed_over_is_never_answered() -> None:
    """The worker could not read it, for want of a descriptor, and cannot know its serial."""
    async with handle() as (worker, channel):
        async with trio.open_nursery() as nursery:

            async def ask_in_vain() -> None:
                with pytest.raises(WorkerRefused, match="worker 2: it never read what it was asked"):
                    await commit(worker)

            nursery.start_soon(ask_in_vain)
            await next_serial(channel)
            nursery.start_soon(commit, worker)
            await channel.send(Reply(serial=await next_serial(channel)))
        await channel.send(Stopped(cut=0))


@pytest.mark.parametrize(
    "report",
    [
        Lines(lines="GET /", dropped=0),
        Lines(lines=f"{OWN}\n{OWN.replace('WRK-02', 'WRK-01')}", dropped=0),
        Lines(lines=f"{OWN}\nsecond", dropped=0),
        Lines(lines="{" * 50_000, dropped=0),
        Logged(lines=(OWN.replace("INFO-ACCESS WRK-02", "AUDIT MAIN"),), dropped=0),
        Logged(lines=(OWN.replace("INFO-ACCESS", "AUDIT"),), dropped=0),
        Logged(lines=(OWN.replace("-ACCESS", ""), "another"), dropped=0),
    ],
)
async def test_lines_of_others_make_no_sense(report: Report) -> None:
    heard = Heard()
    ours, theirs = channel_pair()
    await theirs.send(report)
    with pytest.raises(ChannelError, match="worker 2: it sends"):
        await make_handle(ours, heard).run()
    assert heard.lines == []
    theirs.close()


async def test_a_terminal_obeys_no_worker() -> None:
    heard = Heard()
    log = OWN.replace("-ACCESS", "")
    async with handle(heard) as (_, channel):
        await channel.send(Lines(lines=f"{OWN}\x1b[31m\n{OWN}b", dropped=0))
        await channel.send(Logged(lines=(f"{log}\x07\n\tat\r",), dropped=0))
        await channel.send(Lines(lines="", dropped=3))
        await channel.send(Stopped(cut=0))
    assert heard.lines == [
        Lines(lines=f"{OWN}\\x1b[31m\n{OWN}b", dropped=0),
        Logged(lines=(f"{log}\\x07\n\tat\\r",), dropped=0),
        Lines(lines="", dropped=3),
    ]


async def test_counters_that_are_none_are_no_message() -> None:
    ours, theirs = channel_pair()
    await theirs.send(Counted(counters=(1, 2)))
    with pytest.raises(ChannelError, match="worker 2: want"):
        await make_handle(ours, Heard()).run()
    theirs.close()


@pytest.mark.parametrize("serial", [0, 2, 1 << 40])
async def test_an_answer_to_nothing_makes_no_sense(serial: int) -> None:
    ours, theirs = channel_pair()
    worker = make_handle(ours, Heard())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(commit_in_vain, worker)
        await wait_all_tasks_blocked()
        await theirs.send(Reply(serial=serial))
        with pytest.raises(ChannelError, match=f"worker 2 answers {serial}, which nobody has asked"):
            await worker.run()
    theirs.close()


async def test_a_second_answer_to_the_same_makes_no_sense() -> None:
    ours, theirs = channel_pair()
    worker = make_handle(ours, Heard())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(commit, worker)
        await wait_all_tasks_blocked()
        for _ in range(2):
            await theirs.send(Reply(serial=1))
        with pytest.raises(ChannelError, match="worker 2 answers 1"):
            await worker.run()
    theirs.close()


async def commit_in_vain(worker: WorkerHandle) -> None:
    with pytest.raises(WorkerSilent):
        await commit(worker)


async def test_one_that_says_too_much_is_read_in_its_share_of_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sozu_trio.nursery.attention.MESSAGE", AT_ONCE)
    async with handle() as (_, channel):
        begun = trio.current_time()
        for _ in range(5):
            await channel.send(Stranded(left=1))
        await channel.send(Stopped(cut=0))
    assert trio.current_time() - begun >= 4 * AT_ONCE / SHARE


async def test_descriptors_that_a_worker_sends_are_closed() -> None:
    read, write = os.pipe()
    async with handle() as (_, channel):
        await channel.send(Stopped(cut=0), [read])
    os.close(read)
    with pytest.raises(BrokenPipeError):
        os.write(write, b"x")
    os.close(write)
