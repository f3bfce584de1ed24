"""Main: a change happens wholly or not at all, whatever fails, whoever goes away, and when the stop comes meanwhile."""

import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import HttpFrontend, PathType
from sozu_trio.config.listeners import HttpListener, TcpListener
from sozu_trio.control.messages import Amend, Ask, Commit, Forget, Listen, Prepare, Unlisten
from sozu_trio.errors import OperatorError
from sozu_trio.nursery.bind import bound_address, open_listening_socket
from sozu_trio.nursery.workers import WorkerRefused
from sozu_trio.routing.state import declare
from tests.addresses import free_address
from tests.descriptors import no_descriptor_free
from tests.nursery.parts import Workers
from tests.nursery.supervising import TIMEOUT, Journal, accepts, connect, listening_at, running

pytestmark = pytest.mark.virtual_time


REGEX = PathType.REGEX


async def test_an_address_that_is_taken_changes_nothing() -> None:
    kept, free, taken = free_address(), free_address(), free_address()
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


async def test_a_worker_that_refuses_changes_nothing() -> None:
    kept, new = free_address(), free_address()
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
    old, new = free_address(), free_address()
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

    old, new = free_address(), free_address()
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
    old, new = free_address(), free_address()
    workers = Workers()

    async def look() -> None:
        assert (workers.handler.generations, supervisor.generation, supervisor.listening) == ([1], 1, [old])
        assert isinstance(workers.channel.heard[-1], Prepare)

    async with running(workers, TcpListener(address=old)) as supervisor:
        await supervisor.change(listening_at(TcpListener(address=new)), 2, journal=look)
    order = [type(message) for message in workers.channel.heard]
    assert order[5:10] == [Amend, Prepare, Unlisten, Commit, Listen]


async def test_where_no_descriptor_is_free_nothing_changes() -> None:
    sock = open_listening_socket(Address("127.0.0.1", 0))
    address = bound_address(sock)
    async with running(Workers(), inherited=[sock]) as supervisor:
        with no_descriptor_free(), pytest.raises(OperatorError, match=f"cannot listen on {address}"):
            await supervisor.change(listening_at(TcpListener(address=address)), 2)
        assert (supervisor.generation, supervisor.listening) == (1, [])
        await supervisor.change(listening_at(TcpListener(address=address)), 2)
        assert accepts(address)


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
                for address in (free_address(), free_address()):
                    nursery.start_soon(change, address)
        assert len(supervisor.listening) == 1
        assert list(supervisor.state.listeners) == [("tcp", supervisor.listening[0])]


async def test_a_change_cancelled_anywhere_has_happened_wholly_or_not_at_all() -> None:
    wholly = [await cancelled_change(checkpoints) for checkpoints in range(60)]
    assert not wholly[0]
    assert wholly[-1]


async def cancelled_change(checkpoints: int) -> bool:
    """Whether a change happens that is cancelled after so many."""
    old, new = free_address(), free_address()
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
    old, *new = free_address(), free_address(), free_address()
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
