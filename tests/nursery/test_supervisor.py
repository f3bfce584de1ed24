"""Main: listeners come and go, each worker has sockets of its own, and the end comes when it should."""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend
from sozu_trio.config.listeners import HttpListener, TcpListener
from sozu_trio.config.program import Program
from sozu_trio.control.channel import Channel
from sozu_trio.control.messages import Amend, Ask, Commit, Happened, Listen, Prepare, Unlisten
from sozu_trio.errors import OperatorError
from sozu_trio.nursery.bind import bound_address, open_listening_socket
from sozu_trio.nursery.post import Spawned
from sozu_trio.nursery.supervisor import Supervisor
from sozu_trio.nursery.workers import WorkerRefused
from sozu_trio.routing.drains import Drains
from sozu_trio.routing.state import EMPTY
from tests.addresses import free_address
from tests.nursery.parts import Workers
from tests.nursery.supervising import accepts, cluster_state, connect, listening_at, running

pytestmark = pytest.mark.virtual_time


async def test_the_first_change_listens_everywhere_both_families() -> None:
    addresses = [free_address(), free_address("::1")]
    workers = Workers()
    async with running(workers, *(HttpListener(address=address) for address in addresses)) as supervisor:
        assert supervisor.listening == sorted(addresses)
        assert (supervisor.generation, workers.handler.generations) == (1, [1])
        for address in addresses:
            with connect(address):
                await wait_all_tasks_blocked()
        assert len(workers.handler.names) == 2
    assert supervisor.stopped.is_set()
    assert not any(map(accepts, addresses))


async def test_listeners_are_added_and_removed_while_others_serve() -> None:
    kept, gone, new = free_address(), free_address(), free_address()
    workers = Workers()
    async with running(workers, HttpListener(address=kept), TcpListener(address=gone)) as supervisor:
        with connect(kept) as client:
            await wait_all_tasks_blocked()
            await supervisor.change(listening_at(HttpListener(address=kept), TcpListener(address=new)), 2)
            assert (supervisor.generation, workers.handler.generations) == (2, [1, 2])
            assert supervisor.listening == sorted([kept, new])
            await wait_all_tasks_blocked()
            assert [accepts(address) for address in (kept, gone, new)] == [True, False, True]
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)


async def test_a_listener_is_deactivated_and_activated() -> None:
    address = free_address()
    on, off = (listening_at(TcpListener(address=address, active=active)) for active in (True, False))
    workers = Workers()
    async with running(workers) as supervisor:
        for generation, (state, active) in enumerate([(on, True), (off, False), (off, False), (on, True)], 2):
            await supervisor.change(state, generation)
            await wait_all_tasks_blocked()
            assert accepts(address) is active
            assert supervisor.state == state


async def test_who_is_busy_on_a_removed_listener_finishes_however_long_it_takes() -> None:
    address = free_address()
    workers = Workers()
    async with running(workers, TcpListener(address=address), program=Program(shutdown_timeout=10)) as supervisor:
        with connect(address) as busy, connect(address) as idle:
            busy.sendall(b"busy")
            await wait_all_tasks_blocked()
            await supervisor.change(listening_at(), 2)
            await trio.sleep(1000)
            assert idle.recv(1) == b""
            busy.setblocking(False)
            with pytest.raises(BlockingIOError):
                busy.recv(1)
            workers.handler.release.set()
            await wait_all_tasks_blocked()
            assert busy.recv(1) == b""


@pytest.mark.parametrize("grace", [0, 10])
async def test_a_removed_listener_cuts_what_takes_longer_than_it_was_given(grace: float) -> None:
    address, other = free_address(), free_address()
    async with running(Workers(), TcpListener(address=address), TcpListener(address=other)) as supervisor:
        with connect(address) as busy, connect(other) as patient:
            for client in (busy, patient):
                client.sendall(b"busy")
                client.setblocking(False)
            await wait_all_tasks_blocked()
            drains = Drains(listeners={("tcp", address): grace, ("tcp", other): None})
            await supervisor.change(listening_at(), 2, drains=drains)
            await trio.sleep(grace - 1 if grace else 0)
            if grace:
                with pytest.raises(BlockingIOError):
                    busy.recv(1)
            await trio.sleep(2)
            assert busy.recv(1) == b""
            with pytest.raises(BlockingIOError):
                patient.recv(1)


@pytest.mark.parametrize("hosts", [("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1")])
async def test_every_interface_takes_over_from_one_of_them_and_back(hosts: tuple[str, str]) -> None:
    port = free_address().port
    first, second = (Address(host, port) for host in hosts)
    async with running(Workers(), TcpListener(address=first)) as supervisor:
        for generation, addresses in enumerate([[second], [first, second], [first]], 2):
            await supervisor.change(listening_at(*(TcpListener(address=address) for address in addresses)), generation)
            assert supervisor.listening == sorted(addresses)
            assert accepts(Address("127.0.0.1", port))
    async with running(Workers(), *(TcpListener(address=address) for address in (first, second))) as supervisor:
        assert len(supervisor.listening) == 2


async def test_removed_backends_are_cut_where_that_was_asked_for() -> None:
    addresses = {name: Address("127.0.0.1", port) for port, name in enumerate(["now", "later", "never", "moved"], 1)}
    backends = {
        name: Backend(cluster_id="api", backend_id=name, address=address) for name, address in addresses.items()
    }
    graces = {"now": 0, "later": 30, "never": None, "moved": 0, "unknown": 0}
    drains = Drains(backends={("api", name): grace for name, grace in graces.items()})
    moved = replace(backends["moved"], address=Address("::1", 1))
    workers = Workers()
    async with running(workers) as supervisor:
        await supervisor.change(replace(EMPTY, backends={"api": backends}), 2)
        await supervisor.change(replace(EMPTY, backends={"api": {"moved": moved}}), 3, drains=drains)
        await wait_all_tasks_blocked()
        assert sorted(workers.handler.cuts) == [("api", name, addresses[name]) for name in ("moved", "now")]
        await trio.sleep(31)
        assert workers.handler.cuts[2:] == [("api", "later", addresses["later"])]


async def test_inherited_sockets_are_listened_on_and_none_is_lost_to_a_change_that_fails() -> None:
    workers = Workers()
    with open_listening_socket(Address("127.0.0.1", 0)) as sock, socket.create_server(("127.0.0.1", 0)) as other:
        address, taken = bound_address(sock), bound_address(other)
        with connect(address) as early:
            async with running(workers, inherited=[sock]) as supervisor:
                with pytest.raises(OperatorError, match="is in use"):
                    await supervisor.change(listening_at(TcpListener(address=address), TcpListener(address=taken)), 2)
                await supervisor.change(listening_at(TcpListener(address=address)), 2)
                await wait_all_tasks_blocked()
                assert workers.handler.names == ["session-1"]
                early.setblocking(False)
                with pytest.raises(BlockingIOError):
                    early.recv(1)
    assert not accepts(address)


async def test_inherited_sockets_nobody_wants_are_closed_at_the_end() -> None:
    sock = open_listening_socket(Address("127.0.0.1", 0))
    async with running(Workers(), inherited=[sock]):
        pass
    assert sock.fileno() == -1


@pytest.mark.parametrize("grace", [None, 20])
async def test_stop_is_soft_then_hard(grace: float | None) -> None:
    address = free_address()
    workers = Workers()
    async with running(workers, TcpListener(address=address)) as supervisor:
        with connect(address) as busy, connect(address) as idle:
            busy.sendall(b"busy")
            await wait_all_tasks_blocked()
            await supervisor.stop(grace)
            await trio.sleep(10)
            assert idle.recv(1) == b""
            assert not accepts(address)
            assert (supervisor.listening, supervisor.stopped.is_set()) == ([], False)
            await supervisor.stop(0)
            await supervisor.stopped.wait()
            assert busy.recv(1) == b""
    assert supervisor.cut == 1


async def test_stop_ends_when_the_last_session_does_and_no_line_is_lost() -> None:
    address = free_address()
    workers = Workers()
    async with running(workers, TcpListener(address=address)) as supervisor:
        with connect(address) as busy:
            busy.sendall(b"busy")
            await wait_all_tasks_blocked()
            await supervisor.stop(60)
            await trio.sleep(5)
            begun = trio.current_time()
            workers.handler.release.set()
            await supervisor.stopped.wait()
            assert trio.current_time() == begun
    assert (supervisor.cut, workers.lines) == (0, ["session-1 is over"])


@pytest.mark.parametrize("times", [1, 2, 5])
async def test_stopping_a_proxy_without_listeners_never_waits_in_vain(times: int) -> None:
    async with running(Workers()) as supervisor:
        async with trio.open_nursery() as nursery:
            for _ in range(times):
                nursery.start_soon(supervisor.stop, 0)
        await supervisor.stopped.wait()


async def test_events_of_workers_are_told() -> None:
    event = Happened(kind="BACKEND_DOWN", cluster_id="api", backend_id="b", address=Address("::1", 80))
    workers = Workers()
    async with running(workers):
        workers.handler.tell(event)
        await wait_all_tasks_blocked()
        assert workers.events == [replace(event, details="worker 0")]


async def test_counters_outlive_the_worker() -> None:
    address = free_address()
    workers = Workers()
    async with running(workers, TcpListener(address=address)) as supervisor:
        with connect(address):
            await wait_all_tasks_blocked()
            (looked,) = (await supervisor.look("counters")).values()
            assert looked["counters"] == supervisor.counters().snapshot()
            assert supervisor.counters().sessions == supervisor.workers[0].sessions == 1
        await trio.sleep(1.5)
        assert supervisor.counters().sessions == 0
        workers.handler.counters.requests = 7
    counters = supervisor.counters()
    assert (counters.requests, counters.sessions_total, counters.changes) == (7, 1, 1)
    assert [worker.state for worker in supervisor.workers] == ["stopped"]
    assert await supervisor.look("counters") == {}


async def test_sessions_are_looked_at_and_killed() -> None:
    address = free_address()
    async with running(Workers(), TcpListener(address=address)) as supervisor:
        with connect(address) as client:
            await wait_all_tasks_blocked()
            ((session,),) = (await supervisor.look("sessions", {"limit": 5})).values()
            assert session["client"] == str(Address(*client.getsockname()))
            assert await supervisor.kill_session("nobody") is False
            assert await supervisor.kill_session(session["id"]) is True
            await wait_all_tasks_blocked()
            assert client.recv(1) == b""
        assert list((await supervisor.look("sessions")).values()) == [[]]


async def test_a_worker_that_is_a_task_and_fails_takes_main_with_it() -> None:
    async def die(_worker_id: int, channel: Channel[Ask], *, task_status: trio.TaskStatus[Spawned]) -> None:
        task_status.started(Spawned(1))
        await channel.receive()
        channel.close()
        raise ZeroDivisionError

    supervisor = Supervisor(Program(), die, print, print)
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        await run(supervisor.run)
    assert not supervisor.stopped.is_set()


async def run(serve: Callable[[], Awaitable[None]]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)


async def test_each_of_several_workers_accepts_on_a_socket_of_its_own() -> None:
    address = free_address()
    workers = Workers()
    async with running(workers, TcpListener(address=address), count=3) as supervisor:
        assert [worker.id for worker in supervisor.workers] == [0, 1, 2]
        assert [handler.generations for handler in workers.handlers] == [[1]] * 3
        clients = [connect(address) for _ in range(100)]
        await wait_all_tasks_blocked()
        served = [len(handler.names) for handler in workers.handlers]
        assert sum(served) == 100
        assert min(served) > 0
        for client in clients:
            client.close()
        await supervisor.change(EMPTY, 2)
        assert (accepts(address), supervisor.listening) == (False, [])


async def test_a_change_that_one_worker_refuses_happens_in_none() -> None:
    address = free_address()
    workers = Workers()
    async with running(workers, count=2) as supervisor:
        workers.channels[workers.ids.index(1)].refused.add(Prepare)
        with pytest.raises(WorkerRefused, match="worker 1: not today"):
            await supervisor.change(listening_at(TcpListener(address=address)), 2)
        assert [handler.generations for handler in workers.handlers] == [[1], [1]]
        assert not accepts(address)


async def test_who_waits_in_the_queue_of_a_worker_that_died_is_served_by_the_next_one() -> None:
    address = free_address()
    workers = Workers()
    async with running(workers, TcpListener(address=address)) as supervisor:
        # The first one that dies is replaced at once, the second one a moment later.
        for number in range(2):
            workers.kill(number)
            await wait_all_tasks_blocked()
        with connect(address):
            await supervisor.change(cluster_state(1, listeners=[TcpListener(address=address)]), 2)
            assert len(workers.handlers) == 2
            await trio.sleep(1)
            assert [handler.generations for handler in workers.handlers] == [[1], [1], [2]]
            assert [len(handler.names) for handler in workers.handlers] == [0, 0, 1]
        (status,) = supervisor.workers
        assert (status.state, status.generation) == ("running", 2)
        assert supervisor.listening == [address]


@pytest.mark.parametrize("kind", [Amend, Prepare, Unlisten, Commit, Listen])
async def test_a_worker_that_dies_in_the_middle_of_a_change_does_not_keep_it_from_happening(kind: type[Ask]) -> None:
    old, new = free_address(), free_address()
    workers = Workers()
    async with running(workers, TcpListener(address=old), count=2) as supervisor:
        number = workers.ids.index(1)
        workers.channels[number].fatal[kind] = workers.deaths[number]
        await supervisor.change(cluster_state(1, listeners=[TcpListener(address=new)]), 2)
        await trio.sleep(1)
        assert sorted(workers.ids) == [0, 1, 1]
        living = workers.handlers[1 - number], workers.handlers[2]
        assert [handler.generations for handler in living] == [[1, 2], [2]]
        assert (accepts(old), supervisor.listening) == (False, [new])
        clients = [connect(new) for _ in range(50)]
        await wait_all_tasks_blocked()
        assert sum(len(handler.names) for handler in living) == 50
        for client in clients:
            client.close()


@pytest.mark.parametrize("again", ["removed", "drained"])
async def test_what_drains_already_can_be_cut_sooner(again: str) -> None:
    address = free_address()
    key = "tcp", address
    inactive, sooner = TcpListener(address=address, active=False), Drains(listeners={key: 5})
    workers = Workers()
    async with running(workers, TcpListener(address=address)) as supervisor:
        with connect(address) as client:
            client.sendall(b"busy")
            await supervisor.change(listening_at(inactive), 2, drains=Drains(listeners={key: None}))
            await trio.sleep(1000)
            assert workers.handler.counters.sessions == 1
            if again == "removed":
                await supervisor.change(EMPTY, 3, drains=sooner)
            else:
                await supervisor.drain(sooner)
            await trio.sleep(4)
            assert workers.handler.counters.sessions == 1
            await trio.sleep(2)
            assert workers.handler.counters.sessions == 0


async def test_a_drain_of_what_is_listened_on_is_none() -> None:
    address = free_address()
    workers = Workers()
    async with running(workers, TcpListener(address=address)) as supervisor:
        await supervisor.drain(Drains(listeners={("tcp", address): 0}))
        assert accepts(address)
        assert not workers.channel.heard_of(Unlisten)
