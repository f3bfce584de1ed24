"""Main: a change happens wholly or not at all, and the end comes when it should."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import HttpFrontend
from sozu_trio.config.listeners import HttpListener, Listener, TcpListener
from sozu_trio.config.program import Program
from sozu_trio.control.channel import Channel
from sozu_trio.control.messages import Ask, Lines, Prepare, Reply, Stop, Stopped
from sozu_trio.errors import OperatorError
from sozu_trio.nursery.bind import bound_address, open_listening_socket
from sozu_trio.nursery.supervisor import Supervisor
from sozu_trio.nursery.worker import serve_worker
from sozu_trio.nursery.workers import WorkerRefused
from sozu_trio.routing.state import EMPTY, State, declare
from tests.nursery.parts import FakeHandler, no_descriptor_free

pytestmark = pytest.mark.virtual_time


class Workers:
    """Runs workers as tasks and keeps their handlers."""

    def __init__(self) -> None:
        self.handlers: list[FakeHandler] = []
        self.lines: list[str] = []

    async def spawn(self, _worker_id: int, channel: Channel[Ask]) -> None:
        try:
            await serve_worker(channel, self._make_handler)
        finally:
            channel.close()

    def _make_handler(self, program: Program, worker_id: int) -> FakeHandler:
        self.handlers.append(FakeHandler(program, worker_id))
        return self.handlers[-1]

    def take(self, report: Lines) -> None:
        self.lines += report.lines.split("\n")

    @property
    def handler(self) -> FakeHandler:
        return self.handlers[0]


@asynccontextmanager
async def running(
    workers: Workers,
    *listeners: Listener,
    program: Program = Program(),  # noqa: B008 - it is frozen
    inherited: Iterable[socket.socket] = (),
) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(program, workers.spawn, workers.take)
    supervisor.inherit(inherited)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await supervisor.change(listening_at(*listeners))
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
            generation = await supervisor.change(listening_at(HttpListener(address=kept), TcpListener(address=new)))
            assert (generation, workers.handler.generations) == (2, [1, 2])
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
        for state, active in ((on, True), (off, False), (off, False), (on, True)):
            await supervisor.change(state)
            await wait_all_tasks_blocked()
            assert accepts(address) is active
            assert supervisor.state == state


async def test_who_is_busy_on_a_removed_listener_finishes() -> None:
    address = free_address()
    workers = Workers()
    async with running(workers, TcpListener(address=address)) as supervisor:
        with connect(address) as busy, connect(address) as idle:
            busy.sendall(b"busy")
            await wait_all_tasks_blocked()
            await supervisor.change(listening_at())
            await trio.sleep(29)
            assert idle.recv(1) == b""
            busy.setblocking(False)
            with pytest.raises(BlockingIOError):
                busy.recv(1)
            workers.handler.release.set()
            await wait_all_tasks_blocked()
            assert busy.recv(1) == b""


async def test_removed_listeners_cut_what_takes_longer_than_the_stop_of_the_program() -> None:
    address = free_address()
    async with running(Workers(), TcpListener(address=address), program=Program(shutdown_timeout=10)) as supervisor:
        with connect(address) as busy:
            busy.sendall(b"busy")
            await wait_all_tasks_blocked()
            await supervisor.change(listening_at())
            await trio.sleep(11)
            assert busy.recv(1) == b""


async def test_an_address_that_is_taken_changes_nothing() -> None:
    kept, free, taken = free_addresses(3)
    workers = Workers()
    async with running(workers, TcpListener(address=kept)) as supervisor:
        before = supervisor.state
        with socket.create_server((taken.host, taken.port)):
            listeners = [TcpListener(address=address) for address in (free, taken)]
            with pytest.raises(OperatorError, match=f"cannot listen on {taken}: the address is in use"):
                await supervisor.change(listening_at(*listeners))
        assert (supervisor.state, supervisor.generation, supervisor.listening) == (before, 1, [kept])
        assert workers.handler.generations == [1]
        assert (accepts(kept), accepts(free)) == (True, False)
        assert await supervisor.change(listening_at(*listeners)) == 2
        assert supervisor.listening == sorted([free, taken])


@pytest.mark.parametrize("hosts", [("127.0.0.1", "0.0.0.0"), ("0.0.0.0", "127.0.0.1")])
async def test_every_interface_takes_over_from_one_of_them_and_back(hosts: tuple[str, str]) -> None:
    port = free_address().port
    first, second = (Address(host, port) for host in hosts)
    async with running(Workers(), TcpListener(address=first)) as supervisor:
        for addresses in ([second], [first, second], [first]):
            await supervisor.change(listening_at(*(TcpListener(address=address) for address in addresses)))
            assert supervisor.listening == sorted(addresses)
            assert accepts(Address("127.0.0.1", port))
    async with running(Workers(), *(TcpListener(address=address) for address in (first, second))) as supervisor:
        assert len(supervisor.listening) == 2


async def test_a_socket_the_worker_could_not_take_is_closed_and_the_next_change_tries_again() -> None:
    sock = open_listening_socket(Address("127.0.0.1", 0))
    address = bound_address(sock)
    wanted = listening_at(TcpListener(address=address))
    async with running(Workers(), inherited=[sock]) as supervisor:
        with no_descriptor_free(), pytest.raises(WorkerRefused, match="Listen was cut short: no descriptor free"):
            await supervisor.change(wanted)
        assert (accepts(address), supervisor.listening) == (False, [])
        await supervisor.change(wanted)
        assert (accepts(address), supervisor.listening) == (True, [address])


async def test_a_worker_that_refuses_changes_nothing() -> None:
    kept, new = free_addresses(2)
    wrong = declare(
        [TcpListener(address=new)], [], [HttpFrontend(address=new, hostname="*", cluster_id="nobody")], [], []
    )
    workers = Workers()
    async with running(workers, TcpListener(address=kept)) as supervisor:
        before = supervisor.state
        with pytest.raises(WorkerRefused, match=r"worker 0: .*there is no cluster 'nobody'"):
            await supervisor.change(wrong)
        assert (supervisor.state, supervisor.generation, supervisor.listening) == (before, 1, [kept])
        assert (accepts(kept), accepts(new)) == (True, False)
        assert workers.handler.generations == [1]


async def test_a_worker_that_never_says_whether_it_has_prepared_changes_nothing() -> None:
    async def answer_all_but_prepare(_worker_id: int, channel: Channel[Ask]) -> None:
        while received := await channel.receive():
            message, _ = received
            if not isinstance(message, Prepare):
                await channel.send(Reply(serial=message.serial))
            if isinstance(message, Stop):
                await channel.send(Stopped(cut=0))
        channel.close()

    address = free_address()
    supervisor = Supervisor(Program(worker_timeout=7), answer_all_but_prepare, print)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        begun = trio.current_time()
        with pytest.raises(WorkerRefused, match="no answer to Prepare within 7 s"):
            await supervisor.change(listening_at(TcpListener(address=address)))
        assert trio.current_time() == begun + 7
        assert (supervisor.state, supervisor.generation, accepts(address)) == (EMPTY, 0, False)
        await supervisor.stop(0)


async def test_inherited_sockets_are_listened_on_and_none_is_lost_to_a_change_that_fails() -> None:
    workers = Workers()
    with open_listening_socket(Address("127.0.0.1", 0)) as sock, socket.create_server(("127.0.0.1", 0)) as other:
        address, taken = bound_address(sock), bound_address(other)
        with connect(address) as early:
            async with running(workers, inherited=[sock]) as supervisor:
                with pytest.raises(OperatorError, match="is in use"):
                    await supervisor.change(listening_at(TcpListener(address=address), TcpListener(address=taken)))
                await supervisor.change(listening_at(TcpListener(address=address)))
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
    first, second = free_addresses(2)
    workers = Workers()
    async with running(workers) as supervisor:
        generations: set[int] = set()

        async def change(address: Address) -> None:
            generations.add(await supervisor.change(listening_at(TcpListener(address=address))))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(change, first)
            nursery.start_soon(change, second)
        assert generations == {2, 3}
        assert len(supervisor.listening) == 1
        assert list(supervisor.state.listeners) == [("tcp", supervisor.listening[0])]


@pytest.mark.parametrize("checkpoints", range(40))
async def test_a_change_cancelled_anywhere_has_happened_wholly_or_not_at_all(checkpoints: int) -> None:
    old, new = free_addresses(2)
    workers = Workers()
    async with running(workers, TcpListener(address=old)) as supervisor:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(supervisor.change, listening_at(TcpListener(address=new)))
                for _ in range(checkpoints):
                    await trio.lowlevel.checkpoint()
                scope.cancel(reason="whoever asked has gone")
        await wait_all_tasks_blocked()
        generation = supervisor.generation
        assert workers.handler.generations[-1] == generation
        assert supervisor.listening == [old if generation == 1 else new]
        assert (accepts(old), accepts(new)) == (generation == 1, generation == 2)


async def test_no_change_while_stopping() -> None:
    address = free_address()
    async with running(Workers(), TcpListener(address=address)) as supervisor:
        with connect(address) as busy:
            busy.sendall(b"busy")
            await wait_all_tasks_blocked()
            await supervisor.stop(None)
            with pytest.raises(OperatorError, match="is stopping"):
                await supervisor.change(listening_at())


@pytest.mark.parametrize("checkpoints", range(40))
async def test_a_stop_anywhere_in_a_change_leaves_nothing_listening(checkpoints: int) -> None:
    old, *new = free_addresses(3)
    told: list[OperatorError] = []
    workers = Workers()
    async with running(workers, TcpListener(address=old)) as supervisor:
        with connect(old) as busy:
            busy.sendall(b"busy")
            await wait_all_tasks_blocked()

            async def change() -> None:
                try:
                    await supervisor.change(listening_at(*(TcpListener(address=address) for address in new)))
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
    assert all(str(error) == "the proxy is stopping: nothing can be changed" for error in told)


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


async def test_a_worker_that_dies_takes_main_with_it() -> None:
    async def die(_worker_id: int, channel: Channel[Ask]) -> None:
        await channel.receive()
        channel.close()
        raise ZeroDivisionError

    supervisor = Supervisor(Program(), die, print)
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        await run(supervisor.run)
    assert not supervisor.stopped.is_set()


async def run(serve: Callable[[], Awaitable[None]]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve)
