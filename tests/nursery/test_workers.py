"""A worker as main sees it: asked, answered or refused, and never waited for in vain."""

import os
import socket
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.control.channel import INLINE_SIZE, channel_pair
from sozu_trio.control.messages import (
    Commit,
    Counted,
    Happened,
    Lines,
    Listen,
    Look,
    Reply,
    Stop,
    Stopped,
    Stranded,
)
from sozu_trio.errors import ChannelError
from sozu_trio.nursery.workers import WorkerHandle, WorkerRefused, WorkerSilent
from sozu_trio.telemetry.counters import Counters
from tests.nursery.handles import OWN, PATIENCE, Heard, commit, handle, make_handle, next_serial

pytestmark = pytest.mark.virtual_time
SESSION = {"id": "01", "listener": "127.0.0.1:1", "client": "127.0.0.1:2", "age": 0.5}


async def test_who_is_answered_goes_on() -> None:
    async with handle() as (worker, channel):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(commit, worker)
            await channel.send(Reply(serial=await next_serial(channel)))
        await channel.send(Stopped(cut=4))
    assert worker.stopped == Stopped(cut=4)


async def test_one_whose_channel_to_its_successor_has_ended_says_so() -> None:
    async with handle() as (worker, channel):
        assert not worker.stranded
        await channel.send(Stranded(left=3))
        await wait_all_tasks_blocked()
        assert worker.stranded
        await channel.send(Stopped(cut=3))


async def test_each_gets_the_answer_to_its_own_question() -> None:
    outcomes: dict[str, object] = {}

    async def ask(worker: WorkerHandle, name: str) -> None:
        try:
            outcomes[name] = await worker.ask(partial(Look, what="sessions", query={}))
        except WorkerRefused as refused:
            outcomes[name] = str(refused)

    async with handle() as (worker, channel):
        async with trio.open_nursery() as nursery:
            serials = []
            for name in ("first", "second", "third"):
                nursery.start_soon(ask, worker, name)
                serials.append(await next_serial(channel))
            await channel.send(Reply(serial=serials[0], failure="not now"))
            await channel.send(Reply(serial=serials[1], content=[]))
            await channel.send(Reply(serial=serials[2], content=[SESSION]))
        await channel.send(Stopped(cut=0))
    assert outcomes == {"first": "worker 2: not now", "second": [], "third": [SESSION]}


async def test_what_is_said_unasked_goes_where_it_belongs() -> None:
    heard = Heard()
    event = Happened(kind="BACKEND_DOWN", cluster_id="api", backend_id="b", address=Address("::1", 80))
    async with handle(heard) as (worker, channel):
        await channel.send(Lines(lines=f"{OWN}a\n{OWN}b", dropped=3))
        await channel.send(event)
        await channel.send(Counted(counters=Counters(requests=3, sessions=2).numbers()))
        await wait_all_tasks_blocked()
        assert worker.counters == Counters(requests=3, sessions=2)
        await channel.send(Stopped(cut=0))
    assert (heard.lines, heard.events) == ([Lines(lines=f"{OWN}a\n{OWN}b", dropped=3)], [event])
    assert worker.counters == Counters(requests=3)


async def test_an_answer_nobody_waits_for_any_more_is_forgotten() -> None:
    async with handle() as (worker, channel):
        with trio.move_on_after(1):
            await commit(worker)
        await channel.send(Reply(serial=await next_serial(channel)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(commit, worker)
            await channel.send(Reply(serial=await next_serial(channel)))
        await channel.send(Stopped(cut=0))


async def test_a_worker_that_stops_without_an_answer_refuses() -> None:
    async with handle() as (worker, channel), trio.open_nursery() as nursery:

        async def ask() -> None:
            with pytest.raises(WorkerRefused, match="worker 2 has stopped"):
                await worker.ask(partial(Stop, grace=0))

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        await channel.send(Stopped(cut=0))


async def test_a_worker_that_has_stopped_refuses() -> None:
    async with handle() as (worker, channel):
        await channel.send(Stopped(cut=0))
        await wait_all_tasks_blocked()
        with pytest.raises(WorkerRefused, match="worker 2 has stopped"):
            await commit(worker)


async def test_what_a_worker_said_last_counts_though_it_could_not_be_asked_any_more() -> None:
    ours, theirs = channel_pair()
    worker = make_handle(ours, Heard())
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
    worker = make_handle(ours, Heard())
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
    async with handle() as (worker, channel):
        with pytest.raises(WorkerRefused, match=r"worker 2 cannot be told: .*Too many open files"):
            await worker.ask(partial(Listen, transport="t" * 100_000, address=Address("::1", 1)))
        await channel.send(Stopped(cut=0))


async def test_who_waits_too_long_is_told_and_a_late_answer_shows_that_all_is_well_again() -> None:
    async with handle() as (worker, channel):
        begun = trio.current_time()
        with pytest.raises(WorkerSilent, match="worker 2: no answer to Commit within 5 s"):
            await worker.ask_in_time(partial(Commit, generation=1))
        assert trio.current_time() == begun + PATIENCE
        assert worker.status(0).state == "not answering"
        await channel.send(Reply(serial=await next_serial(channel)))
        await wait_all_tasks_blocked()
        assert worker.status(0).state == "behind"
        await channel.send(Stopped(cut=0))


async def test_its_status() -> None:
    async with handle() as (worker, channel):
        worker.generation = 7
        await channel.send(Counted(counters=Counters(sessions=2).numbers()))
        await wait_all_tasks_blocked()
        status = worker.status(7)
        assert (status.id, status.pid, status.state, status.generation) == (2, 4711, "running", 7)
        assert (status.sessions, status.sandbox) == (2, ())
        assert worker.status(8).state == "behind"
        worker.stopping = True
        assert worker.status(8).state == "stopping"
        await channel.send(Stopped(cut=0))
    assert (worker.status(8).state, worker.status(8).sessions) == ("stopped", 0)


async def test_a_long_report_that_finds_no_descriptor_free_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    heard = Heard()
    refused: list[str] = []

    async def look(worker: WorkerHandle) -> None:
        try:
            await worker.ask(partial(Look, what="sessions", query={}))
        except WorkerRefused as error:
            refused.append(str(error))

    async with handle(heard) as (worker, channel):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(look, worker)
            lost = await next_serial(channel)
            nursery.start_soon(commit, worker)
            serial = await next_serial(channel)
            await channel.send_unread(Reply(serial=lost, content="x" * INLINE_SIZE))
            assert refused == ["worker 2: its answer was lost: no descriptor free for it"]
            await channel.send(Reply(serial=serial))
        await channel.send_unread(Lines(lines="x" * INLINE_SIZE, dropped=0))
        with socket.socket() as sock:
            await channel.send_unread(Lines(lines=f"{OWN}short", dropped=0), sock)
        await channel.send(Stopped(cut=0))
    assert heard.lines == [Lines(lines=f"{OWN}short", dropped=0)]
    assert [record.levelname for record in caplog.records] == ["ERROR"] * 3
    assert "worker 2: a large message was cut short" in caplog.text


async def test_a_socket_that_a_stop_closes_meanwhile_is_still_the_one_that_was_meant() -> None:
    """Its number may be another file's by the time the message goes."""
    async with handle() as (worker, channel):
        async with trio.open_nursery() as crowd:
            for _ in range(1000):
                crowd.start_soon(commit, worker)
            # The channel is full now, so the next message has to wait.
            await wait_all_tasks_blocked()
            sock = socket.create_server(("127.0.0.1", 0))
            address, number = Address(*sock.getsockname()), sock.fileno()
            crowd.start_soon(worker.ask, partial(Listen, transport="tcp", address=address), [sock])
            await wait_all_tasks_blocked()
            with open("/dev/null") as file:  # noqa: ASYNC230 - it never blocks
                sock.close()
                os.dup2(file.fileno(), number)
            message, descriptors = None, list[int]()
            while not isinstance(message, Listen):
                received = await channel.receive()
                assert received is not None
                message, descriptors = received
            with socket.socket(fileno=descriptors[0]) as passed:
                assert Address(*passed.getsockname()) == address
            os.close(number)
            crowd.cancel_scope.cancel()
        await channel.send(Stopped(cut=0))
