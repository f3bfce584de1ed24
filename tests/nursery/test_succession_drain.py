"""A worker that has a successor drains: to its deadline, beside changes, other upgrades and deaths, and in a stop."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.control.messages import (
    Begin,
    GiveBack,
    HandOver,
    Lend,
    Listen,
    TakeOver,
)
from sozu_trio.errors import OperatorError
from tests.addresses import free_address
from tests.nursery.parts import Workers
from tests.nursery.succeeding import DRAIN, Told, close, come, listening, number_of, running, served, states, upgrade

pytestmark = pytest.mark.virtual_time


async def test_what_is_left_is_cut_at_the_deadline() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        clients = await come(address, busy=True)
        await upgrade(supervisor)
        await trio.sleep(DRAIN - 1)
        assert states(supervisor)[-1] == (0, "leaving")
        assert supervisor.leaving[0].seconds_left == pytest.approx(1)
        await trio.sleep(2)
        assert states(supervisor) == [(0, "running"), (1, "running")]
        close(clients)


async def test_the_next_upgrade_waits_for_one_that_drains() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        clients = await come(address, busy=True)
        await upgrade(supervisor)
        told = Told()
        begun = trio.current_time()
        await supervisor.upgrade(0, told)
        assert trio.current_time() == pytest.approx(begun + DRAIN)
        assert told.messages[0].startswith("worker 0: waiting for ")
        assert "sessions of the one before" in told.messages[0]
        close(clients)


async def test_another_worker_is_upgraded_while_one_drains() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        clients = await come(address, busy=True)
        begun = trio.current_time()
        await upgrade(supervisor, 0)
        await upgrade(supervisor, 1)
        assert trio.current_time() - begun < 1
        assert states(supervisor) == [(0, "running"), (1, "running"), (0, "leaving"), (1, "leaving")]
        close(clients)


async def test_one_that_drains_follows_changes() -> None:
    address, other, workers = free_address(), free_address(), Workers()
    async with running(workers, address, count=1) as supervisor:
        clients = await come(address, busy=True)
        await upgrade(supervisor)
        await supervisor.change(listening(address, other), 2)
        assert workers.handlers[number_of(workers)].generations == [1, 2]
        assert [each.address for each in workers.channels[number_of(workers)].heard_of(Listen)] == [address]
        await supervisor.change(listening(other), 3)
        assert states(supervisor) == [(0, "running"), (0, "leaving")]
        workers.handlers[number_of(workers)].release.set()
        await wait_all_tasks_blocked()
        assert states(supervisor) == [(0, "running")]
        close(clients)


async def test_a_successor_that_dies_is_replaced_and_what_is_left_is_handed_over_to_that_one() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address, count=1) as supervisor:
        clients = await come(address, busy=True)
        await upgrade(supervisor)
        await trio.sleep(DRAIN / 2)
        workers.kill(1)
        await trio.sleep(1)
        await wait_all_tasks_blocked()
        assert states(supervisor) == [(0, "running"), (0, "leaving")]
        assert len(workers.channels[2].heard_of(TakeOver)) == 1
        graces = [each.grace for each in workers.channels[number_of(workers)].heard_of(HandOver)]
        assert graces == [DRAIN, pytest.approx(DRAIN / 2, abs=1)]
        close(clients)


async def test_what_the_one_before_was_lent_goes_to_others() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        workers.refused_later.add(Listen)
        workers.delayed[Begin] = trio.Event()
        workers.kill(number_of(workers, 1))
        await wait_all_tasks_blocked()
        assert len(workers.channels[number_of(workers)].heard_of(Lend)) == 1
        workers.refused_later.clear()
        workers.delayed.clear()
        await upgrade(supervisor)
        await wait_all_tasks_blocked()
        assert not workers.channels[number_of(workers)].heard_of(GiveBack)
        clients = await come(address)
        assert sum(served(workers, number) for number in range(len(workers.handlers))) == 50
        close(clients)


async def test_a_stop_ends_them_all() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        clients = await come(address, busy=True)
        await upgrade(supervisor)
        assert len(supervisor.leaving) == 1
        begun = trio.current_time()
        await supervisor.stop(5)
        await supervisor.stopped.wait()
        assert trio.current_time() - begun == pytest.approx(5, abs=1)
        assert supervisor.cut == 50
        with pytest.raises(OperatorError, match="the proxy is stopping"):
            await upgrade(supervisor)
        close(clients)


async def test_an_upgrade_cancelled_or_stopped_anywhere_leaves_one_worker_that_serves_or_none() -> None:
    for stops in (False, True):
        checkpoints = 0
        while await interrupted(checkpoints, stops=stops):
            checkpoints += 1
        assert checkpoints > 5


async def interrupted(checkpoints: int, *, stops: bool) -> bool:
    """Whether the upgrade was still under way after so many checkpoints."""
    address, workers = free_address(), Workers()
    async with running(workers, address, count=1) as supervisor:
        over = trio.Event()

        async def run() -> None:
            try:
                await upgrade(supervisor)
            except OperatorError:
                assert stops
            over.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(run)
            for _ in range(checkpoints):
                await trio.lowlevel.checkpoint()
            under_way = not over.is_set()
            if stops:
                await supervisor.stop(1)
                with trio.fail_after(10):
                    await supervisor.stopped.wait()
            else:
                nursery.cancel_scope.cancel()
        if not stops:
            await wait_all_tasks_blocked()
            assert states(supervisor) == [(0, "running")]
            assert workers.living == 1
            close(await come(address))
            assert sum(served(workers, number) for number in range(len(workers.handlers))) == 50
    return under_way
