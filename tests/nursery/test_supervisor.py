"""Main: a change happens wholly or not at all, and the end comes when it should."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend, PathType
from sozu_trio.config.listeners import HttpListener, Listener, TcpListener
from sozu_trio.config.program import Program
from sozu_trio.control.channel import Channel
from sozu_trio.control.messages import Amend, Ask, Commit, Cut, Forget, Happened, Listen, Prepare, Unlisten
from sozu_trio.errors import NotConfirmed, OperatorError
from sozu_trio.nursery.bind import bound_address, open_listening_socket
from sozu_trio.nursery.post import Spawned
from sozu_trio.nursery.supervisor import HEALING_PERIOD, Supervisor
from sozu_trio.nursery.transaction import RECORDS_PER_MESSAGE
from sozu_trio.nursery.workers import WorkerRefused
from sozu_trio.routing.delta import Delta, diff
from sozu_trio.routing.drains import Drains
from sozu_trio.routing.state import EMPTY, State, declare, with_declared
from tests.nursery.parts import Workers, no_descriptor_free

pytestmark = pytest.mark.virtual_time

REGEX = PathType.REGEX
TIMEOUT = 7
PROGRAM = Program(worker_timeout=TIMEOUT)


@asynccontextmanager
async def running(
    workers: Workers,
    *listeners: Listener,
    program: Program = PROGRAM,
    inherited: Iterable[socket.socket] = (),
    count: int = 1,
) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(program, workers.spawn, workers.take_lines, workers.events.append, workers=count)
    supervisor.inherit(inherited)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await supervisor.change(listening_at(*listeners), 1)
        yield supervisor
        await supervisor.stop(0)


def listening_at(*listeners: Listener) -> State:
    return declare(listeners, [], [], [], [])


def free_address(host: str = "127.0.0.1") -> Address:
    with open_listening_socket(Address(host, 0)) as sock:
        return bound_address(sock)


def free_addresses(count: int) -> list[Address]:
    socks = [open_listening_socket(Address("127.0.0.1", 0)) for _ in range(count)]
    addresses = [bound_address(sock) for sock in socks]
    for sock in socks:
        sock.close()
    return addresses


def connect(address: Address) -> socket.socket:
    return socket.create_connection((address.host, address.port))


def accepts(address: Address) -> bool:
    try:
        connect(address).close()
    except ConnectionRefusedError:
        return False
    return True


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
    kept, gone, new = free_addresses(3)
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
    address, other = free_addresses(2)
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


async def test_an_address_that_is_taken_changes_nothing() -> None:
    kept, free, taken = free_addresses(3)
    workers = Workers()
    async with running(workers, TcpListener(address=kept)) as supervisor:
        before = supervisor.state
        with socket.create_server((taken.host, taken.port)):
            listeners = [TcpListener(address=address) for address in (free, taken)]
            with pytest.raises(OperatorError, match=f"cannot listen on {taken}: the address is in use"):
                await supervisor.change(listening_at(*listeners), 2)
        assert (supervisor.state, supervisor.generation, supervisor.listening) == (before, 1, [kept])
        assert workers.handler.generations == [1]
        assert (accepts(kept), accepts(free)) == (True, False)
        await supervisor.change(listening_at(*listeners), 2)
        assert supervisor.listening == sorted([free, taken])


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


async def test_a_worker_that_refuses_changes_nothing() -> None:
    kept, new = free_addresses(2)
    wrong = declare(
        [HttpListener(address=new)], [], [HttpFrontend(address=new, hostname="*", path="(", path_type=REGEX)], [], []
    )
    workers = Workers()
    async with running(workers, TcpListener(address=kept)) as supervisor:
        before = supervisor.state
        with pytest.raises(WorkerRefused, match=r"worker 0: .*unterminated subpattern"):
            await supervisor.change(wrong, 2)
        assert (supervisor.state, supervisor.generation, supervisor.listening) == (before, 1, [kept])
        assert (accepts(kept), accepts(new)) == (True, False)
        assert workers.handler.generations == [1]


@pytest.mark.parametrize("kind", [Amend, Prepare])
@pytest.mark.parametrize("silent", [False, True])
async def test_whatever_fails_before_the_journal_changes_nothing(kind: type[Ask], silent: bool) -> None:
    old, new = free_addresses(2)
    workers, journal = Workers(), Journal()
    async with running(workers, TcpListener(address=old)) as supervisor:
        wrong = workers.channel.ignored if silent else workers.channel.refused
        wrong.add(kind)
        before, begun = supervisor.state, trio.current_time()
        refusal = f"no answer to {kind.__name__} within 7 s" if silent else "worker 0: not today"
        with pytest.raises(WorkerRefused, match=refusal):
            await supervisor.change(listening_at(TcpListener(address=new)), 2, journal=journal.write)
        assert trio.current_time() == begun + (TIMEOUT if silent else 0)
        assert (journal.written, supervisor.state, supervisor.generation) == (0, before, 1)
        assert (supervisor.listening, accepts(old), accepts(new)) == ([old], True, False)
        assert bool(workers.channel.heard_of(Forget)) is not silent
        wrong.clear()
        await supervisor.change(listening_at(TcpListener(address=new)), 2, journal=journal.write)
        assert (journal.written, workers.handler.generations, supervisor.listening) == (1, [1, 2], [new])


@pytest.mark.parametrize("error", [OperatorError("the disk is full"), ZeroDivisionError("ours")])
async def test_what_cannot_be_written_down_changes_nothing(error: Exception) -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise error

    old, new = free_addresses(2)
    workers = Workers()
    with open_listening_socket(Address("127.0.0.1", 0)) as inherited:
        given = bound_address(inherited)
        wanted = listening_at(*(TcpListener(address=address) for address in (new, given)))
        async with running(workers, TcpListener(address=old), inherited=[inherited]) as supervisor:
            before = supervisor.state
            with pytest.raises(type(error), match=str(error)):
                await supervisor.change(wanted, 2, journal=fail)
            assert (supervisor.state, supervisor.generation, supervisor.listening) == (before, 1, [old])
            assert (accepts(old), accepts(new), workers.handler.generations) == (True, False, [1])
            assert workers.channel.heard_of(Forget)
            await supervisor.change(wanted, 2)
            assert supervisor.listening == sorted([new, given])


async def test_the_journal_is_written_when_all_have_prepared_and_nobody_has_begun() -> None:
    old, new = free_addresses(2)
    workers = Workers()

    async def look() -> None:
        assert (workers.handler.generations, supervisor.generation, supervisor.listening) == ([1], 1, [old])
        assert isinstance(workers.channel.heard[-1], Prepare)

    async with running(workers, TcpListener(address=old)) as supervisor:
        await supervisor.change(listening_at(TcpListener(address=new)), 2, journal=look)
    order = [type(message) for message in workers.channel.heard]
    assert order[5:10] == [Amend, Prepare, Unlisten, Commit, Listen]


@pytest.mark.parametrize("kind", [Unlisten, Commit, Listen, Cut])
@pytest.mark.parametrize("silent", [False, True])
async def test_after_the_journal_the_change_stands_whatever_fails_and_the_worker_is_brought_in_step(
    kind: type[Ask], silent: bool
) -> None:
    old, new = free_addresses(2)
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


async def test_where_no_descriptor_is_free_nothing_changes() -> None:
    sock = open_listening_socket(Address("127.0.0.1", 0))
    address = bound_address(sock)
    async with running(Workers(), inherited=[sock]) as supervisor:
        with no_descriptor_free(), pytest.raises(OperatorError, match=f"cannot listen on {address}"):
            await supervisor.change(listening_at(TcpListener(address=address)), 2)
        assert (supervisor.generation, supervisor.listening) == (1, [])
        await supervisor.change(listening_at(TcpListener(address=address)), 2)
        assert accepts(address)


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


def cluster_state(*numbers: int, listeners: Iterable[Listener] = ()) -> State:
    return declare(listeners, [Cluster(cluster_id=str(number)) for number in numbers], [], [], [])


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


async def test_changes_wait_for_one_another() -> None:
    workers = Workers()
    alone = 0

    async def write() -> None:
        nonlocal alone
        alone += 1
        for _ in range(50):
            assert alone == 1
            await trio.lowlevel.checkpoint()
        alone -= 1

    async with running(workers) as supervisor:

        async def change(address: Address) -> None:
            await supervisor.change(listening_at(TcpListener(address=address)), 2, journal=write)

        with pytest.RaisesGroup(pytest.RaisesExc(ValueError, match="generation 2 does not come after 2")):
            async with trio.open_nursery() as nursery:
                for address in free_addresses(2):
                    nursery.start_soon(change, address)
        assert len(supervisor.listening) == 1
        assert list(supervisor.state.listeners) == [("tcp", supervisor.listening[0])]


class Journal:
    """Counts what was written down, as slowly as a disk."""

    def __init__(self) -> None:
        self.begun = 0
        self.written = 0

    async def write(self) -> None:
        self.begun += 1
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        self.written += 1


async def test_a_change_cancelled_anywhere_has_happened_wholly_or_not_at_all() -> None:
    wholly = [await cancelled_change(checkpoints) for checkpoints in range(60)]
    assert not wholly[0]
    assert wholly[-1]


async def cancelled_change(checkpoints: int) -> bool:
    """Whether a change happens that is cancelled after so many."""
    old, new = free_addresses(2)
    workers, journal = Workers(), Journal()
    async with running(workers, TcpListener(address=old)) as supervisor:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def change() -> None:
                    await supervisor.change(listening_at(TcpListener(address=new)), 2, journal=journal.write)

                nursery.start_soon(change)
                for _ in range(checkpoints):
                    await trio.lowlevel.checkpoint()
                scope.cancel(reason="whoever asked has gone")
        await wait_all_tasks_blocked()
        generation = supervisor.generation
        assert journal.begun == journal.written == generation - 1
        assert workers.handler.generations[-1] == generation
        assert supervisor.listening == [old if generation == 1 else new]
        assert (accepts(old), accepts(new)) == (generation == 1, generation == 2)
        # Nothing is left that would be in the way of the next one.
        await supervisor.change(listening_at(TcpListener(address=new)), 3)
        assert (supervisor.listening, workers.handler.generations[-1]) == ([new], 3)
    return generation == 2


async def test_no_change_while_stopping() -> None:
    address = free_address()
    async with running(Workers(), TcpListener(address=address)) as supervisor:
        with connect(address) as busy:
            busy.sendall(b"busy")
            await wait_all_tasks_blocked()
            await supervisor.stop(None)
            with pytest.raises(OperatorError, match="is stopping"):
                await supervisor.change(listening_at(), 2)


async def test_a_stop_anywhere_in_a_change_leaves_nothing_listening() -> None:
    happened = [await stopped_change(checkpoints) for checkpoints in range(60)]
    assert not happened[0]
    assert happened[-1]


async def stopped_change(checkpoints: int) -> bool:
    """Whether a change happens when a stop comes after so many."""
    old, *new = free_addresses(3)
    told: list[OperatorError] = []
    workers, journal = Workers(), Journal()
    async with running(workers, TcpListener(address=old)) as supervisor:
        with connect(old) as busy:
            busy.sendall(b"busy")
            await wait_all_tasks_blocked()

            async def change() -> None:
                try:
                    listeners = [TcpListener(address=address) for address in new]
                    await supervisor.change(listening_at(*listeners), 2, journal=journal.write)
                except OperatorError as error:
                    told.append(error)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(change)
                for _ in range(checkpoints):
                    await trio.lowlevel.checkpoint()
                await supervisor.stop(None)
            assert supervisor.listening == []
            await wait_all_tasks_blocked()
            assert not any(map(accepts, [old, *new]))
            assert not supervisor.stopped.is_set()
            # What is in the journal is in force, for those who still drain as well.
            assert supervisor.generation == workers.handler.generations[-1] == 1 + journal.written
    assert [str(error) for error in told] == ["the proxy is stopping: nothing can be changed"] * (1 - journal.written)
    return bool(journal.written)


async def test_a_stop_before_the_journal_is_written_comes_first() -> None:
    address = free_address()
    workers, journal = Workers(), Journal()
    async with running(workers, TcpListener(address=address)) as supervisor:
        with connect(address) as busy:
            busy.sendall(b"busy")
            await wait_all_tasks_blocked()

            async def change() -> None:
                with pytest.raises(OperatorError, match="is stopping"):
                    await supervisor.change(listening_at(), 2, journal=journal.write)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(change)
                while len(workers.channel.heard_of(Prepare)) < 2:
                    await trio.lowlevel.checkpoint()
                await supervisor.stop(None)
            assert (journal.begun, supervisor.generation) == (0, 1)


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
        assert workers.events == [event]


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
    old, new = free_addresses(2)
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


async def test_one_that_begins_while_another_is_brought_in_step_loses_nobody_who_waits_for_it() -> None:
    address = free_address()
    workers = Workers()
    async with running(workers, TcpListener(address=address), count=2):
        workers.delayed[Listen] = trio.Event()
        for worker_id in (0, 1, 1):
            workers.kill(max(number for number, each in enumerate(workers.ids) if each == worker_id))
            await wait_all_tasks_blocked()
        clients = [connect(address) for _ in range(50)]
        # By now the second one has begun too, and the first one waits for its socket.
        await trio.sleep(1)
        assert workers.ids.count(1) == 3
        workers.delayed.pop(Listen).set()
        await trio.sleep(1)
        assert sum(len(handler.names) for handler in workers.handlers) == 50
        for client in clients:
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)
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
