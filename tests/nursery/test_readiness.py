"""Waits in the set of our own: they end when there is something to read, and neither sooner nor never."""

import errno
import os
import select
import socket
import struct
from contextlib import closing

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.lowlevel import wait_task_rescheduled
from trio.testing import MockClock, wait_all_tasks_blocked

from sozu_trio.config.limits import VOLLEY_FROM
from sozu_trio.nursery.readiness import Readable, notify_closing
from tests.descriptors import open_descriptors
from tests.nursery.parts import tcp_pair
from tests.nursery.waiting import Pair, pass_by, wait_for, waits

pytestmark = pytest.mark.virtual_time


async def test_a_wait_ends_when_there_is_something_to_read(pair: Pair) -> None:
    peer, ours = pair
    readable = Readable(ours)
    for _ in range(3):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for, readable)
            await wait_all_tasks_blocked()
            assert readable.task is not None
            peer.send(b"x")
        assert ours.recv(10) == b"x"
        assert await waits(readable)


async def test_all_whose_time_has_come_run_in_one_pass() -> None:
    pairs = [tcp_pair() for _ in range(20)]
    async with trio.open_nursery() as nursery:
        for _, ours in pairs:
            nursery.start_soon(wait_for, Readable(ours))
        await wait_all_tasks_blocked()
        for peer, _ in pairs:
            peer.send(b"x")
        before = trio.lowlevel.current_statistics().tasks_living
        await pass_by(2)
        assert trio.lowlevel.current_statistics().tasks_living == before - len(pairs)
    for each in pairs:
        each[0].close()
        each[1].close()


@pytest.mark.parametrize("how", ["shutdown", "close", "reset"])
async def test_the_end_can_be_read_too(pair: Pair, how: str) -> None:
    peer, ours = pair
    readable = Readable(ours)
    assert await waits(readable)
    if how == "shutdown":
        peer.shutdown(socket.SHUT_WR)
    else:
        if how == "reset":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
    for _ in range(3):
        assert not await waits(readable)


async def test_what_nobody_reads_costs_one_look_and_is_not_forgotten(pair: Pair) -> None:
    peer, ours = pair
    readable = Readable(ours)
    assert await waits(readable)
    peer.send(b"xy")
    await pass_by(3)
    assert not readable.asked
    for rest in (b"x", b"y"):
        assert not await waits(readable)
        assert ours.recv(1) == rest
    assert await waits(readable)


async def test_a_cancelled_wait_leaves_nothing_behind(pair: Pair) -> None:
    peer, ours = pair
    readable = Readable(ours)
    with trio.CancelScope() as scope:
        scope.cancel(reason="before it begins")
        await wait_for(readable)
    assert scope.cancelled_caught
    assert readable.task is None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for, readable)
        await wait_all_tasks_blocked()
        peer.send(b"x")
        nursery.cancel_scope.cancel(reason="as it comes")
    assert not await waits(readable)


async def test_only_one_waits(pair: Pair) -> None:
    peer, ours = pair
    readable = Readable(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for, readable)
        await wait_all_tasks_blocked()
        for other in (readable, Readable(ours)):
            with pytest.raises(trio.BusyResourceError):
                await wait_for(other)
        peer.send(b"x")


async def test_a_socket_may_be_waited_for_by_one_after_the_other(pair: Pair) -> None:
    """As plain text and then within TLS, and the other way round."""
    peer, ours = pair
    first, second = Readable(ours), Readable(ours)
    for each in (first, second, first, second):
        assert await waits(each)
        peer.send(b"x")
        assert not await waits(each)
        assert ours.recv(10) == b"x"


@pytest.mark.parametrize("by_socket", [True, False])
async def test_who_waits_for_what_is_closed_is_told(pair: Pair, *, by_socket: bool) -> None:
    _, ours = pair
    readable = Readable(ours)

    async def wait() -> None:
        with pytest.raises(trio.ClosedResourceError):
            await wait_for(readable)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        if by_socket:
            notify_closing(ours)
        else:
            readable.forget()
    notify_closing(ours)
    ours.close()
    notify_closing(ours)
    with pytest.raises(ValueError, match="negative"):
        await wait_for(readable)


async def test_nothing_to_notify_before_the_first_wait(pair: Pair) -> None:
    notify_closing(pair[1])
    Readable(pair[1]).forget()


async def test_a_number_that_has_gone_to_another_socket(pair: Pair) -> None:
    """Whoever had it did not say goodbye; and forgets it late."""
    peer, ours = pair
    before = Readable(ours)
    assert await waits(before)
    next_peer, next_one = tcp_pair()
    with next_peer:
        os.dup2(next_one.fileno(), ours.fileno())
        next_one.close()
        readable = Readable(ours)
        assert await waits(readable)
        before.forget()
        peer.close()
        assert await waits(readable)
        next_peer.send(b"x")
        assert not await waits(readable)


async def test_what_lives_on_elsewhere_and_was_closed_here_first_keeps_nobody_busy(pair: Pair) -> None:
    peer, ours = pair
    other_peer, other = tcp_pair()
    gone, there = Readable(ours), Readable(other)
    with ours.dup(), closing(other), closing(other_peer):
        assert await waits(gone)
        assert await waits(there)
        ours.close()
        gone.forget()
        peer.send(b"x")
        await wait_all_tasks_blocked()
        assert await waits(there)
        other_peer.send(b"x")
        assert not await waits(there)


def test_every_run_has_a_set_of_its_own(pair: Pair) -> None:
    peer, ours = pair
    readable = Readable(ours)

    async def once() -> bool:
        found = await waits(readable)
        readable.forget()
        return found

    descriptors = open_descriptors()
    assert trio.run(once, clock=MockClock(autojump_threshold=0))
    peer.send(b"x")
    assert not trio.run(once, clock=MockClock(autojump_threshold=0))
    assert open_descriptors() == descriptors


Step = tuple[int, str]
STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["send", "read", "wait", "pass", "close", "forget", "end"])),
    max_size=40,
)


@settings(deadline=None, max_examples=150)
@given(STEPS)
def test_a_wait_lasts_where_a_read_would_block_and_nowhere_else(steps: list[Step]) -> None:
    trio.run(_play, steps, clock=MockClock(autojump_threshold=0))


async def _play(steps: list[Step]) -> None:
    pairs = [tcp_pair() for _ in range(4)]
    readables = [Readable(ours) for _, ours in pairs]
    for number, step in steps:
        peer, ours = pairs[number]
        if step == "send":
            if peer.fileno() >= 0:
                peer.send(b"x")
        elif step == "read":
            if not would_block(ours):
                ours.recv(1)
        elif step == "wait":
            assert await waits(readables[number]) is would_block(ours)
        elif step == "pass":
            await pass_by(2)
        elif step == "end":
            peer.close()
        else:
            if step == "forget":
                readables[number].forget()
            ours.close()
            peer.close()
            pairs[number] = tcp_pair()
            readables[number] = Readable(pairs[number][1])
    for peer, ours in pairs:
        peer.close()
        ours.close()


def would_block(sock: socket.socket) -> bool:
    try:
        sock.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
    except BlockingIOError:
        return True
    except ConnectionError:
        return False
    return False


# What must not hurt others


async def test_one_that_could_not_be_watched_can_be_closed(pair: Pair) -> None:
    _, ours = pair
    readable = Readable(ours)
    ours.close()
    with pytest.raises(ValueError, match="negative"):
        await wait_for(readable)
    readable.forget()


async def test_who_came_too_late_takes_nothing_away(pair: Pair) -> None:
    peer, ours = pair
    first, second = Readable(ours), Readable(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_for, first)
        await wait_all_tasks_blocked()
        with pytest.raises(trio.BusyResourceError):
            await wait_for(second)
        second.forget()
        peer.send(b"x")


async def test_a_socket_that_lives_on_elsewhere_is_forgotten_by_its_number(pair: Pair) -> None:
    """Though its number has gone to another socket since, which somebody watches."""
    peer, ours = pair
    assert await waits(Readable(ours))
    next_peer, next_one = tcp_pair()
    gone: list[str] = []
    with ours.dup(), next_peer:
        notify_closing(ours)
        os.dup2(next_one.fileno(), ours.fileno())
        next_one.close()
        readable = Readable(ours)
        readable.watch(lambda: gone.append("gone"))
        peer.close()
        assert await waits(readable)
        assert gone == []


@pytest.mark.parametrize("fails", ["epoll", "modify"])
async def test_a_failure_wakes_nobody_less(pair: Pair, monkeypatch: pytest.MonkeyPatch, fails: str) -> None:
    """Trio would never call the instrument again that had raised."""
    peer, ours = pair
    other_peer, other = tcp_pair()
    gone, there = Readable(ours), Readable(other)
    gone.watch(lambda: None)
    assert await waits(gone)
    assert await waits(there)
    with ours.dup(), closing(other), closing(other_peer):
        peer.send(b"x")
        ours.close()
        if fails == "epoll":
            gone.forget()
            with monkeypatch.context() as patched:
                patched.setattr(select, "epoll", full)
                await pass_by(3)
        await pass_by(3)
        await wait_all_tasks_blocked()
        assert await waits(there)
        other_peer.send(b"x")
        assert not await waits(there)


def full(**_: object) -> select.epoll:
    raise OSError(errno.EMFILE, "Too many open files")


def test_what_is_forgotten_after_the_end_of_its_run(pair: Pair) -> None:
    _, ours = pair
    readable = Readable(ours)
    trio.run(waits, readable, clock=MockClock(autojump_threshold=0))
    readable.forget()


@pytest.mark.parametrize(("sessions", "seen"), [(VOLLEY_FROM - 1, 0), (VOLLEY_FROM, VOLLEY_FROM)])
async def test_where_there_are_many_a_first_look_is_taken_before_any_goes_on(sessions: int, seen: int) -> None:
    pairs = [tcp_pair() for _ in range(sessions)]
    looked_at: list[bytes] = []
    came: list[bytes | None] = []

    def look(data: bytes) -> None:
        looked_at.append(data)
        if data == b"1":
            raise RuntimeError("not heard")

    async def receive(sock: socket.socket) -> None:
        came.append(await wait_task_rescheduled(Readable(sock).expect(10, look)))
        assert len(looked_at) == seen

    async with trio.open_nursery() as nursery:
        for _, ours in pairs:
            nursery.start_soon(receive, ours)
        await wait_all_tasks_blocked()
        for number, (peer, _) in enumerate(pairs):
            peer.send(b"%d" % number)
    assert sorted(each or b"" for each in came) == [b"%d" % number for number in range(sessions)]
    for each in pairs:
        each[0].close()
        each[1].close()
