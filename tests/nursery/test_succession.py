"""A worker is replaced by a successor that begins beside it: nobody waits, and a bad successor changes nothing."""

import errno

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.program import Program
from sozu_trio.control.messages import (
    Ask,
    Begin,
    Commit,
    HandOver,
    Listen,
    Prepare,
    Stop,
    Stranded,
    TakeOver,
)
from sozu_trio.errors import OperatorError
from sozu_trio.nursery import succession
from sozu_trio.nursery.succession import TRIAL
from sozu_trio.nursery.supervisor import HEALING_PERIOD, Supervisor
from tests.addresses import free_address
from tests.nursery.parts import Workers
from tests.nursery.succeeding import DRAIN, TIMEOUT, close, come, listening, number_of, running, served, states, upgrade

pytestmark = pytest.mark.virtual_time


async def test_the_successor_gets_the_sockets_and_the_one_before_finishes_what_it_has() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        first = await come(address, busy=True)
        before = served(workers, number_of(workers))
        done = await upgrade(supervisor)
        assert (done.worker_id, done.left, done.moved) == (0, before, 0)
        assert states(supervisor) == [(0, "running"), (1, "running"), (0, "leaving")]
        assert supervisor.leaving[0].seconds_left == DRAIN
        assert workers.handlers[2].generations == [1]
        second = await come(address)
        assert served(workers, number_of(workers)) == before
        assert served(workers, number_of(workers, 1)) + served(workers, 2) + before == 100
        assert served(workers, 2) > 0
        workers.handlers[number_of(workers)].release.set()
        await wait_all_tasks_blocked()
        assert states(supervisor) == [(0, "running"), (1, "running")]
        await supervisor.look("counters")
        assert supervisor.counters().sessions_total == 100
        close(first + second)


async def test_a_successor_begins_and_is_ready_before_the_one_before_hears_of_it() -> None:
    workers = Workers()
    async with running(workers, free_address(), count=1) as supervisor:
        done = trio.Event()
        workers.channels[number_of(workers)].delayed[HandOver] = done
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upgrade, supervisor)
            await wait_all_tasks_blocked()
            kinds = [type(each) for each in workers.channels[1].heard]
            assert [kinds.index(kind) for kind in (Begin, Prepare, Commit, Listen, TakeOver)] == sorted(
                kinds.index(kind) for kind in (Begin, Prepare, Commit, Listen, TakeOver)
            )
            assert type(workers.channels[number_of(workers)].heard[-1]) is HandOver
            done.set()


@pytest.mark.parametrize("kind", [Begin, Prepare, Commit, Listen])
@pytest.mark.parametrize("how", ["refuses", "hangs", "dies"])
async def test_a_successor_that_does_not_get_ready_changes_nothing(how: str, kind: type[Ask]) -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        clients = await come(address, busy=True)
        {"refuses": workers.refused_later, "hangs": workers.ignored_later, "dies": workers.fatal_later}[how].add(kind)
        with pytest.raises(OperatorError, match="the successor of worker 0"):
            await upgrade(supervisor)
        assert states(supervisor) == [(0, "running"), (1, "running")]
        assert not workers.channels[number_of(workers)].heard_of(HandOver)
        await wait_all_tasks_blocked()
        assert workers.deaths[2].cancel_called or how != "dies"
        more = await come(address)
        assert served(workers, number_of(workers)) + served(workers, number_of(workers, 1)) == 100
        for kinds in (workers.refused_later, workers.ignored_later, workers.fatal_later):
            kinds.clear()
        await supervisor.change(listening(address), 2)
        await upgrade(supervisor)
        assert states(supervisor) == [(0, "running"), (1, "running"), (0, "leaving")]
        close(clients + more)


async def test_a_successor_has_a_limit_where_workers_have_none() -> None:
    workers = Workers()
    async with running(workers, free_address(), 1, Program(worker_timeout=0)) as supervisor:
        workers.ignored_later.add(Prepare)
        begun = trio.current_time()
        with pytest.raises(OperatorError, match="no answer to Prepare within 10 s"):
            await upgrade(supervisor)
        assert trio.current_time() == begun + TRIAL


async def test_a_worker_that_there_is_not() -> None:
    async with running(Workers(), free_address()) as supervisor:
        with pytest.raises(OperatorError, match="worker: there is none with the id 2; there are 0, 1"):
            await upgrade(supervisor, 2)


async def test_a_worker_that_dies_while_its_successor_begins_is_replaced_once() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        workers.delayed[Prepare] = trio.Event()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upgrade, supervisor)
            await wait_all_tasks_blocked()
            workers.kill(number_of(workers))
            await wait_all_tasks_blocked()
            workers.delayed[Prepare].set()
        await wait_all_tasks_blocked()
        assert [state for state in states(supervisor) if state[1] == "running"] == [(0, "running"), (1, "running")]
        await trio.sleep(DRAIN + 1)
        assert states(supervisor) == [(0, "running"), (1, "running")]
        close(await come(address))
        assert served(workers, number_of(workers)) == 0


async def test_one_that_cannot_hand_over_is_told_again() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address, count=1) as supervisor:
        clients = await come(address, busy=True)
        workers.channels[0].refused.add(HandOver)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upgrade, supervisor)
            await trio.sleep(2 * HEALING_PERIOD)
            assert len(workers.channels[0].heard_of(HandOver)) > 1
            assert states(supervisor) == [(0, "running"), (0, "leaving")]
            workers.channels[0].refused.clear()
        assert 0 < (workers.channels[0].heard_of(HandOver)[-1].grace or 0) < DRAIN
        workers.handlers[0].release.set()
        await wait_all_tasks_blocked()
        assert states(supervisor) == [(0, "running")]
        close(clients)


async def test_one_that_is_stranded_hands_over_again() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address, count=1) as supervisor:
        clients = await come(address, busy=True)
        await upgrade(supervisor)
        await workers.channels[0].send(Stranded(left=50))
        await trio.sleep(2 * HEALING_PERIOD)
        assert len(workers.channels[0].heard_of(HandOver)) == 2
        close(clients)


async def test_where_main_has_no_descriptor_free_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    address, workers = free_address(), Workers()

    def refuse(*_: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    async with running(workers, address, count=1) as supervisor:
        clients = await come(address)
        monkeypatch.setattr(succession, "_socketpair", refuse)
        with pytest.raises(OperatorError, match="nothing can be handed over: Too many open files"):
            await upgrade(supervisor)
        assert [state for state in states(supervisor) if state[1] == "running"] == [(0, "running")]
        assert not workers.channels[0].heard_of(HandOver)
        monkeypatch.undo()
        await trio.sleep(DRAIN)
        await upgrade(supervisor)
        assert len(workers.channels[0].heard_of(HandOver)) == 1
        close(clients)


async def test_a_successor_that_has_let_clients_in_is_not_killed() -> None:
    """It listens at the first address and fails at the second."""
    first, second = sorted((free_address(), free_address()))
    workers = Workers()
    async with running(workers, first, count=1) as supervisor:
        await supervisor.change(listening(first, second), 2)
        listened = trio.Event()
        workers.delayed[Listen] = listened
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails_to_upgrade, supervisor)
            await wait_all_tasks_blocked()
            heard = workers.channels[1].heard_of(Listen)
            assert [each.address for each in heard] == [first]
            listened.set()
            workers.channels[1].refuse_at = second
            await wait_all_tasks_blocked()
        clients = await come(first, busy=True)
        assert not workers.deaths[1].cancel_called
        assert [type(each) for each in workers.channels[1].heard][-1] is Stop
        assert states(supervisor) == [(0, "running"), (0, "stopping")] or states(supervisor) == [(0, "running")]
        close(clients)


async def fails_to_upgrade(supervisor: Supervisor) -> None:
    with pytest.raises(OperatorError, match="the successor of worker 0 does not get ready"):
        await upgrade(supervisor)


async def test_an_upgrade_waits_only_for_its_own_worker() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address) as supervisor:
        clients = await come(address, busy=True)
        await upgrade(supervisor)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upgrade, supervisor, 0)
            await trio.sleep(1)
            begun = trio.current_time()
            await upgrade(supervisor, 1)
            assert trio.current_time() - begun < 1
            nursery.cancel_scope.cancel()
        close(clients)


async def test_one_that_was_promoted_has_no_limit_where_workers_have_none() -> None:
    workers = Workers()
    async with running(workers, free_address(), 1, Program(worker_timeout=0)) as supervisor:
        await upgrade(supervisor)
        workers.ignored_later.add(Begin)
        workers.kill(1)
        await trio.sleep(100 * TRIAL)
        assert len(workers.ids) == 3


async def test_one_whose_successor_cannot_take_over_hands_over_all_the_same() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address, count=1) as supervisor:
        clients = await come(address, busy=True)
        workers.refused_later.add(TakeOver)
        await upgrade(supervisor)
        assert len(workers.channels[0].heard_of(HandOver)) == 1
        assert states(supervisor) == [(0, "running"), (0, "leaving")]
        close(clients)


async def test_one_that_is_stuck_keeps_its_upgrade_waiting_until_it_is_killed() -> None:
    address, workers = free_address(), Workers()
    async with running(workers, address, count=1) as supervisor:
        clients = await come(address, busy=True)
        workers.channels[0].ignored.add(HandOver)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upgrade, supervisor)
            await trio.sleep(2 * TIMEOUT)
            workers.kill(0)
        await wait_all_tasks_blocked()
        assert states(supervisor) == [(0, "running")]
        close(clients)
