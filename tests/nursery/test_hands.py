"""More workers and fewer: nobody waits for one that is not there, and who leaves finishes what it has."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.config.program import Program
from sozu_trio.control.messages import Begin, Lend, Listen, Prepare, Stop
from sozu_trio.errors import OperatorError
from sozu_trio.nursery.hands import LONGEST_DRAIN
from sozu_trio.nursery.supervisor import Supervisor
from tests.addresses import free_address
from tests.nursery.parts import Workers
from tests.nursery.test_loans import connect, kill, listening_at, served

pytestmark = pytest.mark.virtual_time


@asynccontextmanager
async def running(workers: Workers, address: Address, count: int = 2) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(Program(shutdown_timeout=30), workers.spawn, workers.take_lines, workers=count)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await supervisor.change(listening_at(address), 1)
        yield supervisor
        await supervisor.stop(0)


def states(supervisor: Supervisor) -> list[tuple[int, str]]:
    return [(each.id, each.state) for each in supervisor.workers]


async def come(address: Address) -> list[socket.socket]:
    clients = connect(address)
    await wait_all_tasks_blocked()
    return clients


def close(clients: list[socket.socket]) -> None:
    for client in clients:
        client.close()


async def test_new_ones_serve_by_what_is_in_force_and_take_their_share() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        await supervisor.employ(4)
        assert states(supervisor) == [(number, "running") for number in range(4)]
        assert [handler.generations for handler in workers.handlers] == [[1]] * 4
        clients = await come(address)
        assert min(served(workers, number) for number in range(4)) > 0
        assert sum(served(workers, number) for number in range(4)) == 50
        await supervisor.change(listening_at(free_address()), 2)
        assert [handler.generations for handler in workers.handlers] == [[1, 2]] * 4
        close(clients)


async def test_who_leaves_gets_nobody_any_more_and_keeps_what_it_has_for_a_while() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        first = await come(address)
        before = served(workers, 1)
        workers.handlers[0].release = workers.handlers[1].release = trio.Event()
        for client in first:
            client.send(b"busy")
        await wait_all_tasks_blocked()
        begun = trio.current_time()
        await supervisor.employ(1)
        assert states(supervisor) == [(0, "running"), (1, "stopping")]
        assert supervisor.worker_count == 1
        second = await come(address)
        assert (served(workers, 1), served(workers, 0)) == (before, 100 - before)
        await supervisor.change(listening_at(address), 2)
        total = supervisor.counters().sessions_total
        await trio.sleep(31)
        assert states(supervisor) == [(0, "running")]
        assert trio.current_time() - begun < 35
        assert supervisor.counters().sessions_total >= total
        await supervisor.look("counters")
        assert supervisor.counters().sessions_total == 100
        close(first + second)


async def test_an_id_is_free_again_once_whoever_had_it_has_gone() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        clients = await come(address)
        for client in clients:
            client.send(b"busy")
        await wait_all_tasks_blocked()
        await supervisor.employ(1)
        await supervisor.employ(2)
        assert states(supervisor) == [(0, "running"), (1, "stopping"), (2, "running")]
        close(clients)
        await trio.sleep(31)
        await supervisor.employ(3)
        assert states(supervisor) == [(0, "running"), (1, "running"), (2, "running")]
        await supervisor.employ(1)
        await trio.sleep(31)
        assert states(supervisor) == [(0, "running")]


async def test_one_that_was_to_be_replaced_is_not() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        await kill(workers, 1)
        await kill(workers, 1)
        await supervisor.employ(1)
        assert states(supervisor) == [(0, "running")]
        clients = await come(address)
        assert served(workers, 0) == 50
        await trio.sleep(20)
        assert len(workers.ids) == 3
        close(clients)


async def test_one_that_is_about_to_begin_is_ended() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        workers.delayed[Begin] = trio.Event()
        await kill(workers, 1)
        await supervisor.employ(1)
        assert states(supervisor) == [(0, "running")]
        await trio.sleep(20)
        assert sorted(workers.ids) == [0, 1, 1]


@pytest.mark.parametrize("kind", [Begin, Prepare])
async def test_where_one_cannot_begin_there_are_as_many_as_before(kind: type[Begin | Prepare]) -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        workers.refused_later.add(kind)
        with pytest.raises(OperatorError, match="no more workers can be had: "):
            await supervisor.employ(4)
        workers.refused_later.clear()
        await trio.sleep(20)
        assert states(supervisor) == [(0, "running"), (1, "running")]
        assert supervisor.worker_count == 2
        clients = await come(address)
        assert served(workers, 0) + served(workers, 1) == 50
        await supervisor.employ(3)
        close(clients)


async def test_one_that_does_not_accept_at_once_has_its_clients_served_and_does_so_later() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        workers.refused_later.add(Listen)
        await supervisor.employ(3)
        clients = await come(address)
        assert sum(served(workers, number) for number in range(2)) == 50
        workers.channels[2].refused.clear()
        await trio.sleep(20)
        clients += await come(address)
        assert served(workers, 2) > 0
        close(clients)


async def test_a_caller_that_goes_away_leaves_as_many_as_before() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        workers.delayed[Prepare] = trio.Event()
        with trio.move_on_after(1):
            await supervisor.employ(4)
        workers.delayed.pop(Prepare).set()
        await trio.sleep(40)
        assert states(supervisor) == [(0, "running"), (1, "running")]


async def test_a_stop_in_the_middle_stops_new_ones_too() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        workers.delayed[Prepare] = trio.Event()
        async with trio.open_nursery() as nursery:

            async def employ() -> None:
                with pytest.raises(OperatorError, match="stopping"):
                    await supervisor.employ(4)

            nursery.start_soon(employ)
            await wait_all_tasks_blocked()
            await supervisor.stop(0)
            workers.delayed.pop(Prepare).set()
        with pytest.raises(OperatorError, match="stopping"):
            await supervisor.employ(1)


async def test_one_that_cannot_be_told_leaves_all_the_same(caplog: pytest.LogCaptureFixture) -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        workers.channels[workers.ids.index(1)].refused.add(Stop)
        await supervisor.employ(1)
        assert "worker 1: not today" in caplog.text
        clients = await come(address)
        assert served(workers, 0) == 50
        assert states(supervisor) == [(0, "running")]
        close(clients)


async def test_whoever_nobody_takes_does_not_keep_it_open_for_ever(caplog: pytest.LogCaptureFixture) -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        workers.channels[workers.ids.index(0)].refused.add(Lend)
        await kill(workers, 1)
        await kill(workers, 1)
        clients = await come(address)
        begun = trio.current_time()
        workers.delayed[Begin] = trio.Event()
        await supervisor.employ(1)
        assert trio.current_time() - begun == pytest.approx(LONGEST_DRAIN)
        assert "still wait for a worker that leaves" in caplog.text
        workers.delayed.pop(Begin).set()
        close(clients)
