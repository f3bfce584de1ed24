"""Hang-ups of peers whom nobody reads from: told once, to whom it concerns."""

import socket
import struct

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.nursery.readiness import HANGING_UP, READING, Readable
from tests.nursery.parts import tcp_pair
from tests.nursery.waiting import Pair, pass_by, wait_for, waits

pytestmark = pytest.mark.virtual_time


@pytest.mark.parametrize("how", ["close", "shutdown", "reset"])
@pytest.mark.parametrize("unread", [b"", b"GET / HTTP/1.1\r\n"])
async def test_who_hangs_up_is_told_of_once_whoever_reads(pair: Pair, how: str, unread: bytes) -> None:
    peer, ours = pair
    readable, gone = Readable(ours), list[str]()
    readable.watch(lambda: gone.append("gone"))
    if unread:
        peer.send(unread)
    await wait_all_tasks_blocked()
    await pass_by(3)
    assert (gone, readable.asked) == ([], HANGING_UP if unread else READING)
    if how == "shutdown":
        peer.shutdown(socket.SHUT_WR)
    else:
        if how == "reset":
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
    await wait_all_tasks_blocked()
    await pass_by(3)
    assert (gone, readable.asked) == (["gone"], 0)
    assert not await waits(readable)
    if how != "reset":
        assert ours.recv(100) == unread


async def test_a_hangup_before_it_is_watched_is_told(pair: Pair) -> None:
    peer, ours = pair
    gone: list[str] = []
    peer.close()
    Readable(ours).watch(lambda: gone.append("gone"))
    await wait_all_tasks_blocked()
    assert gone == ["gone"]


async def test_who_waits_reads_before_the_hangup_is_told(pair: Pair) -> None:
    peer, ours = pair
    readable, order = Readable(ours), list[str]()

    async def read() -> None:
        await wait_for(readable)
        order.append("read")

    readable.watch(lambda: order.append("gone"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await wait_all_tasks_blocked()
        peer.close()
    await wait_all_tasks_blocked()
    assert order == ["read", "gone"]


async def test_who_watches_no_more_is_not_told(pair: Pair) -> None:
    peer, ours = pair
    gone: list[str] = []
    readable = Readable(ours)
    readable.watch(lambda: gone.append("gone"))
    readable.on_hangup = None
    peer.close()
    await wait_all_tasks_blocked()
    assert gone == []


async def test_many_hang_up_at_once_and_only_they_are_told_of() -> None:
    gone = set[int]()
    pairs = [tcp_pair() for _ in range(50)]
    for number, (_, ours) in enumerate(pairs):
        Readable(ours).watch(lambda number=number: gone.add(number))  # type: ignore[misc]
    for peer, _ in pairs[::2]:
        peer.close()
    await wait_all_tasks_blocked()
    assert gone == set(range(0, 50, 2))
    for peer, ours in pairs:
        peer.close()
        ours.close()


async def test_a_scope_may_be_cancelled_for_it(pair: Pair) -> None:
    peer, ours = pair
    with trio.CancelScope() as scope:
        Readable(ours).watch(lambda: scope.cancel(reason="gone"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            await wait_all_tasks_blocked()
            peer.close()
    assert scope.cancelled_caught
