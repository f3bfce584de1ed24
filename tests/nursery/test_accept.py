"""Accepting: what each sort of error does, and that nothing spins."""

import errno
import os
import socket
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.limits import EXHAUSTED_PAUSE
from sozu_trio.nursery.accept import DEAD_IN_THE_QUEUE, EXHAUSTED, accept_forever, accept_queued
from sozu_trio.nursery.overload import BATCH, BATCH_OF_OVERLOADED, Overload
from sozu_trio.nursery.shortage import Shortage
from tests.nursery.overloading import overwhelm
from tests.nursery.parts import ScriptedListening, connected, listening

pytestmark = pytest.mark.virtual_time


class Taken:
    """Who was handed over, and what there was to be relieved of."""

    def __init__(self) -> None:
        self.socks: list[socket.socket] = []
        self.peers: list[Any] = []
        self.errors: list[OSError] = []
        self.times: list[float] = []
        self.turned_away: list[Any] = []
        self.overload = Overload()
        self.shortage = Shortage()

    def take(self, sock: socket.socket, peer: Any) -> None:
        self.socks.append(sock)
        self.peers.append(peer)

    def turn_away(self, sock: socket.socket, peer: Any) -> None:
        self.turned_away.append(peer)
        sock.close()

    def relieve(self, error: OSError) -> int:
        self.errors.append(error)
        self.times.append(trio.current_time())
        return 0

    async def run(self, sock: ScriptedListening) -> None:
        await accept_forever(sock, self.take, self.relieve, self.turn_away, self.overload, self.shortage)

    def close(self) -> None:
        for sock in self.socks:
            sock.close()


def error(number: int) -> OSError:
    return OSError(number, os.strerror(number))


async def test_connections_come_non_blocking_and_without_delay() -> None:
    taken = Taken()
    with listening() as sock, connected(sock, 3) as clients:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(taken.run, sock)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel(reason="seen")
        assert taken.peers == [client.getsockname() for client in clients]
        assert not any(ours.getblocking() for ours in taken.socks)
        assert all(ours.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) for ours in taken.socks)
        taken.close()


async def test_after_a_batch_others_run() -> None:
    taken, seen = Taken(), list[int]()

    async def others() -> None:
        while len(taken.socks) < 3 * BATCH:
            seen.append(len(taken.socks))
            await trio.lowlevel.checkpoint()

    with listening() as sock, connected(sock, 3 * BATCH):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(taken.run, sock)
            nursery.start_soon(others)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel(reason="seen")
        taken.close()
    # In each pass of the scheduler both run once, in any order.
    assert {BATCH, 2 * BATCH}.intersection(seen)


@pytest.mark.parametrize("number", sorted(DEAD_IN_THE_QUEUE), ids=errno.errorcode.get)
async def test_who_died_in_the_queue_is_passed_over(number: int) -> None:
    taken = Taken()
    with listening(error(number), error(number)) as sock, connected(sock):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(taken.run, sock)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel(reason="seen")
        assert (len(taken.socks), taken.errors) == (1, [])
        taken.close()


@pytest.mark.parametrize("number", sorted(EXHAUSTED), ids=errno.errorcode.get)
async def test_exhaustion_asks_for_relief_rests_and_recovers_by_itself(number: int) -> None:
    taken = Taken()
    with listening(*[error(number)] * 3) as sock, connected(sock):
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(taken.run, sock)
            await trio.sleep(10 * EXHAUSTED_PAUSE)
            nursery.cancel_scope.cancel(reason="seen")
        assert [raised.errno for raised in taken.errors] == [number] * 3
        assert taken.times == pytest.approx([begun + n * EXHAUSTED_PAUSE for n in range(3)])
        assert len(taken.socks) == 1
        assert sock.asked == 5  # three in vain, one that came, one that found the queue empty
        taken.close()


async def test_relief_is_asked_for_now_and_then_however_often_a_rest_ends_early() -> None:
    taken = Taken()
    with listening(*[error(errno.EMFILE)] * 6) as sock, connected(sock):
        begun = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(taken.run, sock)
            for _ in range(5):
                await trio.sleep(0.3 * EXHAUSTED_PAUSE)
                assert taken.socks == []
                taken.shortage.given_back()
            await trio.sleep(0.3 * EXHAUSTED_PAUSE)
            taken.shortage.given_back()
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel(reason="seen")
        assert len(taken.socks) == 1
        assert taken.times == pytest.approx([begun, begun + 1.2 * EXHAUSTED_PAUSE])
        taken.close()


async def test_a_programming_error_is_raised() -> None:
    taken = Taken()
    with listening(error(errno.EBADF)) as sock, connected(sock), pytest.raises(OSError, match="Bad file"):
        await taken.run(sock)


async def test_cancelling_loses_nobody() -> None:
    taken = Taken()
    with listening() as sock:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(taken.run, sock)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel(reason="stop")
        with connected(sock) as clients:
            accept_queued(sock, taken.take)
            assert taken.peers == [clients[0].getsockname()]
            taken.close()


async def test_the_queue_is_emptied_without_waiting() -> None:
    taken = Taken()
    with listening(error(errno.ECONNABORTED)) as sock, connected(sock, 20):
        accept_queued(sock, taken.take)
        assert len(taken.socks) == 20
        assert not any(ours.getblocking() for ours in taken.socks)
        taken.close()


async def test_emptying_the_queue_ends_where_no_more_can_be_had() -> None:
    taken = Taken()
    with listening(error(errno.EMFILE)) as sock, connected(sock):
        accept_queued(sock, taken.take)
    assert taken.socks == []


async def test_whoever_has_waited_longest_is_shed_and_a_few_are_taken() -> None:
    taken = Taken()
    with listening() as sock, connected(sock, BATCH_OF_OVERLOADED + 10) as clients:
        overwhelm(taken.overload)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(taken.run, sock)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel(reason="seen")
        peers = [client.getsockname() for client in clients]
        assert (taken.turned_away, taken.peers) == (peers[:10], peers[10:])
        taken.close()


async def test_a_socket_that_was_shut_down_is_waited_for_until_it_listens_again() -> None:
    taken = Taken()
    with listening() as sock:
        sock.shutdown(socket.SHUT_RDWR)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(taken.run, sock)
            await trio.sleep(3 * EXHAUSTED_PAUSE)
            assert 2 <= sock.asked <= 4
            sock.listen()
            with connected(sock):
                await trio.sleep(2 * EXHAUSTED_PAUSE)
                nursery.cancel_scope.cancel(reason="seen")
        assert (len(taken.socks), taken.errors) == (1, [])
        taken.close()
