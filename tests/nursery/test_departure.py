"""Sessions that get to where they can move at whatever moment: the worker's look at all of them ends."""

import contextlib
import socket

import pytest
import trio

from sozu_trio.config.addresses import Address
from sozu_trio.control.channel import Channel
from sozu_trio.control.moves import ANSWERS, OFFERS, Learned, Offered, Taken
from sozu_trio.nursery import departure
from sozu_trio.nursery.departure import Departure
from sozu_trio.nursery.listener import ListenerNode, SessionNode
from tests.nursery.parts import tcp_pair

pytestmark = pytest.mark.virtual_time


class Waiting:
    """A session that is in the queue in the very tick in which it is woken."""

    def __init__(self, leaving: Departure, node: SessionNode) -> None:
        self._leaving = leaving
        self._node = node

    def cancel(self, reason: str | None = None) -> None:
        parcel = departure._parcel(self._node, None)
        self._leaving._queue.append(departure._Offering(self._node, parcel, [self._node.sock.fileno()]))
        self._leaving._something.set()


async def take_all(channel: Channel[Learned | Offered]) -> None:
    while (received := await channel.receive()) is not None:
        message, descriptors = received
        for each in descriptors:
            socket.socket(fileno=each).close()
        taken = tuple(range(len(message.parcels))) if isinstance(message, Offered) else ()
        await channel.send(Taken(taken=taken, refused=(), room=100))


async def test_one_that_is_in_the_queue_before_anybody_looks_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(departure, "PASSES", 0)
    told: list[tuple[int, int]] = []

    async def report(moved: int, left: int) -> None:
        told.append((moved, left))

    async def report_stranded(left: int) -> None:
        raise AssertionError("nobody is stranded")

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client, sock = tcp_pair()
    with contextlib.closing(Channel(theirs, OFFERS)) as successor, client, sock:
        listener = ListenerNode(("tcp", Address("127.0.0.1", 1)), sock)
        leaving = Departure(Channel(ours, ANSWERS), [listener], Learned(failing=()), report, report_stranded)
        listener.departure = leaving
        node = SessionNode("one", sock, ("127.0.0.1", 2), listener, trio.current_time())
        listener.drain.enter_idle(Waiting(leaving, node))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(take_all, successor)
            nursery.start_soon(leaving.run)
            await leaving.looked.wait()
            leaving.finish()
            nursery.cancel_scope.cancel()
    assert told == [(1, 0)]
