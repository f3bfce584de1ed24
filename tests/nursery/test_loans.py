"""Loans: no client waits for a worker that is dead while another one lives."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.config.listeners import TcpListener
from sozu_trio.config.program import Program
from sozu_trio.control.messages import GiveBack, Lend
from sozu_trio.nursery.supervisor import HEALING_PERIOD, Supervisor
from sozu_trio.routing.state import EMPTY, State, declare
from tests.addresses import free_address
from tests.nursery.parts import Workers

pytestmark = pytest.mark.virtual_time


def listening_at(address: Address) -> State:
    return declare([TcpListener(address=address)], [], [], [], [])


@asynccontextmanager
async def running(workers: Workers, address: Address) -> AsyncIterator[Supervisor]:
    """Two workers, the second of which has died twice in a row and is away for a moment."""
    supervisor = Supervisor(Program(), workers.spawn, workers.take_lines, workers=2)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await supervisor.change(listening_at(address), 1)
        await kill(workers, 1)
        await kill(workers, 1)
        assert len(workers.ids) == 3
        yield supervisor
        await supervisor.stop(0)


async def kill(workers: Workers, worker_id: int) -> None:
    """The latest one of that id."""
    workers.kill(max(number for number, each in enumerate(workers.ids) if each == worker_id))
    await wait_all_tasks_blocked()


def connect(address: Address) -> list[socket.socket]:
    """So many clients that each queue gets some."""
    return [socket.create_connection((address.host, address.port)) for _ in range(50)]


def served(workers: Workers, worker_id: int) -> int:
    return sum(len(handler.names) for handler in workers.handlers if handler.worker_id == worker_id)


async def test_who_is_there_serves_at_once_those_who_wait_for_who_is_not() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address):
        begun = trio.current_time()
        clients = connect(address)
        await wait_all_tasks_blocked()
        assert (served(workers, 0), served(workers, 1), trio.current_time()) == (50, 0, begun)
        await trio.sleep(1)
        assert workers.channels[workers.ids.index(0)].heard_of(GiveBack)
        clients += connect(address)
        await wait_all_tasks_blocked()
        assert served(workers, 0) + served(workers, 1) == 100
        assert served(workers, 1) > 0
        for client in clients:
            client.close()


async def test_who_came_in_through_a_loan_stays_when_it_is_given_back() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address):
        clients = connect(address)
        await trio.sleep(1)
        assert workers.channels[workers.ids.index(0)].heard_of(GiveBack)
        for client in clients:
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)
            client.close()


async def test_a_listener_that_goes_meanwhile_takes_the_loan_with_it() -> None:
    address, other, workers = free_address(), free_address(), Workers()
    async with running(workers, address) as supervisor:
        await supervisor.change(EMPTY, 2)
        with pytest.raises(ConnectionRefusedError):
            connect(address)
        await supervisor.change(listening_at(other), 3)
        await wait_all_tasks_blocked()
        clients = connect(other)
        await wait_all_tasks_blocked()
        assert served(workers, 0) == 50
        await trio.sleep(1)
        await supervisor.change(EMPTY, 4)
        for client in clients:
            assert client.recv(1) == b""
            client.close()


async def test_where_it_cannot_be_lent_they_wait_for_the_successor(caplog: pytest.LogCaptureFixture) -> None:
    address, workers = free_address(), Workers()
    supervisor = Supervisor(Program(), workers.spawn, workers.take_lines, workers=2)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await supervisor.change(listening_at(address), 1)
        workers.channels[workers.ids.index(0)].refused.add(Lend)
        await kill(workers, 1)
        await kill(workers, 1)
        clients = connect(address)
        await wait_all_tasks_blocked()
        assert served(workers, 0) + served(workers, 1) < 50
        await trio.sleep(1)
        assert served(workers, 0) + served(workers, 1) == 50
        for client in clients:
            client.close()
        await supervisor.stop(0)
    assert "worker 0: not today" in caplog.text


async def test_when_the_borrower_dies_too_the_next_one_takes_both() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address):
        await kill(workers, 0)
        await kill(workers, 0)
        clients = connect(address)
        await trio.sleep(1)
        assert served(workers, 0) + served(workers, 1) == 50
        for client in clients:
            client.close()


@pytest.mark.parametrize("alive", [True, False])
async def test_nobody_dies_of_a_socket_that_a_worker_has_shut_down(alive: bool) -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        if alive:
            await trio.sleep(1)
        for sockets in supervisor._sockets.of.values():
            for sock in sockets.values():
                with sock.dup() as theirs:
                    theirs.shutdown(socket.SHUT_RDWR)
        await trio.sleep(HEALING_PERIOD + 1)
        clients = connect(address)
        await trio.sleep(1)
        assert served(workers, 0) + served(workers, 1) == 50
        assert len(workers.ids) == 4
        for client in clients:
            client.close()
