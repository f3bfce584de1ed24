"""Main: what travels is the difference, and a worker that has not followed, or has drifted, is brought in step."""

import socket
from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.clusters import Backend, Cluster
from sozu_trio.config.listeners import TcpListener
from sozu_trio.control.messages import Amend, Ask, Commit, Cut, Listen, Prepare, Unlisten
from sozu_trio.errors import NotConfirmed
from sozu_trio.nursery.supervisor import HEALING_PERIOD, Supervisor
from sozu_trio.nursery.transaction import RECORDS_PER_MESSAGE
from sozu_trio.routing.delta import Delta, diff
from sozu_trio.routing.drains import Drains
from sozu_trio.routing.state import with_declared
from tests.addresses import free_address
from tests.nursery.parts import Workers
from tests.nursery.supervising import PROGRAM, TIMEOUT, Journal, accepts, cluster_state, connect, listening_at, running

pytestmark = pytest.mark.virtual_time


@pytest.mark.parametrize("kind", [Unlisten, Commit, Listen, Cut])
@pytest.mark.parametrize("silent", [False, True])
async def test_after_the_journal_the_change_stands_whatever_fails_and_the_worker_is_brought_in_step(
    kind: type[Ask], silent: bool
) -> None:
    old, new = free_address(), free_address()
    backend = Backend(cluster_id="api", backend_id="b", address=old)
    before = replace(listening_at(TcpListener(address=old)), backends={"api": {"b": backend}})
    after = listening_at(TcpListener(address=new))
    workers, journal = Workers(), Journal()
    async with running(workers) as supervisor:
        await supervisor.change(before, 2)
        wrong = workers.channel.ignored if silent else workers.channel.refused
        wrong.add(kind)
        drains = Drains(backends={("api", "b"): 0})
        reason = f"no answer to {kind.__name__} within 7 s" if silent else "worker 0: not today"
        with pytest.raises(NotConfirmed, match=f"generation 3 is decided .* not all of it is confirmed: .*{reason}"):
            await supervisor.change(after, 3, drains=drains, journal=journal.write)
        assert (journal.written, supervisor.state, supervisor.generation) == (1, after, 3)
        (status,) = supervisor.workers
        assert (status.generation, workers.handler.generations) == (
            (None, [1, 2]) if kind is Commit else (3, [1, 2, 3])
        )
        assert (accepts(new), supervisor.listening) == ((False, []) if kind in {Commit, Listen} else (True, [new]))
        wrong.clear()
        await trio.sleep(3 * (TIMEOUT + HEALING_PERIOD))
        (status,) = supervisor.workers
        assert (status.state, status.generation, workers.handler.generations[-1]) == ("running", 3, 3)
        assert (supervisor.listening, accepts(old), accepts(new)) == ([new], False, True)
        assert workers.handler.cuts == [("api", "b", old)]


async def test_a_worker_that_stays_out_of_step_is_tried_again_and_again(caplog: pytest.LogCaptureFixture) -> None:
    workers = Workers()
    async with running(workers) as supervisor:
        workers.channel.refused.add(Commit)
        with pytest.raises(NotConfirmed):
            await supervisor.change(listening_at(), 2)
        await trio.sleep(10.5 * HEALING_PERIOD)
        tries = [record for record in caplog.records if record.getMessage().startswith("not in step yet: worker 0")]
        assert len(tries) == 11
        assert supervisor.workers[0].state == "behind"
        workers.channel.refused.clear()
        # The next change does not wait for that.
        await supervisor.change(listening_at(), 3)
        assert (supervisor.workers[0].state, workers.handler.generations) == ("running", [1, 3])


async def test_a_socket_the_worker_could_not_take_is_closed_and_had_again_as_soon_as_it_can_be() -> None:
    address = free_address()
    workers = Workers()
    async with running(workers) as supervisor:
        workers.channel.refused.add(Listen)
        with pytest.raises(NotConfirmed, match="worker 0: not today"):
            await supervisor.change(listening_at(TcpListener(address=address)), 2)
        workers.channel.refused.clear()
        assert (accepts(address), supervisor.listening) == (False, [])
        await trio.sleep(1)
        assert (accepts(address), supervisor.listening) == (True, [address])


async def test_an_address_that_is_taken_meanwhile_is_had_when_it_is_free() -> None:
    address = free_address()
    workers = Workers()
    async with running(workers) as supervisor:
        workers.channel.refused.add(Listen)
        with pytest.raises(NotConfirmed):
            await supervisor.change(listening_at(TcpListener(address=address)), 2)
        workers.channel.refused.clear()
        with socket.create_server((address.host, address.port)):
            await trio.sleep(3 * HEALING_PERIOD)
            assert supervisor.listening == []
        await trio.sleep(HEALING_PERIOD)
        assert (supervisor.listening, accepts(address)) == ([address], True)


@pytest.mark.parametrize("kind", [Prepare, Commit])
async def test_a_worker_that_drifted_is_told_everything_anew(kind: type[Ask], caplog: pytest.LogCaptureFixture) -> None:
    """Here it says it has done what it has not."""
    workers = Workers()
    states = [cluster_state(*range(count)) for count in range(4)]
    async with running(workers) as supervisor:
        await supervisor.change(states[1], 2)
        workers.channel.pretended |= {Prepare, Commit}
        await supervisor.change(states[2], 3)
        assert workers.handler.generations == [1, 2]
        workers.channel.pretended.clear()
        await supervisor.change(states[3], 4)
        assert workers.handler.generations == [1, 2, 4]
        assert set(workers.handler.table.clusters) == {"0", "1", "2"}
    assert "amends generation 3, and here is 2: it is told everything anew" in caplog.text


async def test_what_travels_is_the_difference() -> None:
    workers = Workers()
    many = cluster_state(*range(1000))
    async with running(workers) as supervisor:
        await supervisor.change(many, 2)
        parts = [amend.delta for amend in workers.channel.heard_of(Amend)[1:]]
        assert sum(map(len, parts)) == 1000
        assert max(map(len, parts)) == RECORDS_PER_MESSAGE
        one_more = cluster_state(*range(1001))
        await supervisor.change(one_more, 3)
        *_, last = workers.channel.heard_of(Amend)
        assert (last.base, last.delta) == (2, Delta(clusters=(Cluster(cluster_id="1000"),)))
        assert len(workers.handler.table.clusters) == 1001
        one_less = cluster_state(*range(1000))
        await supervisor.change(one_less, 4, delta=diff(one_more, one_less))
        *_, last = workers.channel.heard_of(Amend)
        assert last.delta == Delta(gone_clusters=("1000",))
        assert set(workers.handler.table.clusters) == set(many.clusters)


async def test_what_the_file_declared_is_no_business_of_workers() -> None:
    workers = Workers()
    async with running(workers) as supervisor:
        state = with_declared(cluster_state(1), cluster_state(1, 2))
        await supervisor.change(state, 2)
        assert supervisor.state == state
        await supervisor.change(with_declared(state, None), 3, delta=diff(state, with_declared(state, None)))
        assert supervisor.state.declared is None
        assert [amend.delta.declared for amend in workers.channel.heard_of(Amend)] == [None] * 3
        assert [len(amend.delta) for amend in workers.channel.heard_of(Amend)] == [0, 1, 0]


@pytest.mark.parametrize("kind", [Prepare, Listen])
async def test_one_that_begins_while_another_is_brought_in_step_loses_nobody_who_waits_for_it(kind: type[Ask]) -> None:
    address = free_address()
    workers = Workers()
    async with running(workers, TcpListener(address=address), count=2):
        workers.delayed[kind] = trio.Event()
        for worker_id in (0, 1, 1):
            workers.kill(max(number for number, each in enumerate(workers.ids) if each == worker_id))
            await wait_all_tasks_blocked()
        clients = [connect(address) for _ in range(50)]
        # By now the second one has begun too, and the first one is not ready, or waits for its socket.
        await trio.sleep(1)
        assert workers.ids.count(1) == 3
        workers.delayed.pop(kind).set()
        await trio.sleep(1)
        assert sum(len(handler.names) for handler in workers.handlers) == 50
        for client in clients:
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)
            client.close()


@pytest.mark.parametrize("kind", [Commit, Listen])
async def test_all_are_in_step_once_the_successor_of_a_silent_one_accepts(kind: type[Ask]) -> None:
    """The other one serves from the beginning."""
    address = free_address()
    workers = Workers()
    workers.ignored_of[1] = {kind}
    supervisor = Supervisor(PROGRAM, workers.spawn, workers.take_lines, workers=2)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        with pytest.raises(NotConfirmed, match=f"worker 1: no answer to {kind.__name__}"):
            await supervisor.change(listening_at(TcpListener(address=address)), 1)
        assert (supervisor.in_step, accepts(address)) == (False, True)
        workers.ignored_of.clear()
        workers.kill(workers.ids.index(1))
        await trio.sleep(HEALING_PERIOD / 5)
        assert (supervisor.in_step, workers.ids.count(1)) == (True, 2)
        await supervisor.stop(0)


async def test_nobody_waits_for_one_that_has_no_successor() -> None:
    workers = Workers()
    async with running(workers, program=replace(PROGRAM, worker_automatic_restart=False), count=2) as supervisor:
        assert supervisor.in_step
        workers.kill(workers.ids.index(0))
        await wait_all_tasks_blocked()
        assert ([worker.state for worker in supervisor.workers], supervisor.in_step) == (["stopped", "running"], True)
