"""A listener: who is let in, who is turned away, and how it ends."""

import errno
import itertools
import logging
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.config.program import Settings
from sozu_trio.nursery import listener as listener_module
from sozu_trio.nursery.capacity import Capacity
from sozu_trio.nursery.drain import release_idle
from sozu_trio.nursery.listener import Doorkeeping, Goodbye, ListenerNode, Refusal, SessionNode, serve_listener
from sozu_trio.nursery.overload import BATCH_OF_OVERLOADED, Overload
from sozu_trio.routing.state import ListenerKey
from tests.nursery.counting import alone
from tests.nursery.overloading import overwhelm
from tests.nursery.parts import ScriptedListening, connected

pytestmark = pytest.mark.virtual_time

KEY = "tcp", Address("127.0.0.1", 8080)


class Inn:
    """A listener, and what a test says of those who come."""

    def __init__(self, serve: Callable[[SessionNode], Awaitable[None]], most: int = 100, *script: OSError) -> None:
        self.sock = ScriptedListening(script)
        self.sock.setblocking(False)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen()
        self.node = ListenerNode(KEY, self.sock)
        self.refused: list[Refusal] = []
        self.seen_off = 0
        self.relieved = 0
        self.relief = 7
        """What is given back when it is asked for."""
        self.closing_time = trio.Event()
        """When those who were refused politely go."""
        numbers = itertools.count(1)
        self.doors = Doorkeeping(
            serve,
            self._refuse,
            self._relieve,
            lambda: f"session-{next(numbers)}",
            Capacity(alone(), Settings(max_connections=most)),
            admit_nobody,
        )

    def _refuse(self, sock: socket.socket, key: ListenerKey, why: Refusal) -> Goodbye:
        assert key == KEY
        self.refused.append(why)
        return self._see_off

    async def _see_off(self) -> None:
        self.seen_off += 1
        await self.closing_time.wait()

    def _relieve(self) -> int:
        self.relieved += 1
        return self.relief

    @property
    def sessions(self) -> list[str]:
        return sorted(self.node.sessions)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[trio.Nursery]:
        async with trio.open_nursery() as nursery:
            await nursery.start(serve_listener, self.node, self.doors)
            yield nursery


def admit_nobody(_: object) -> None:
    """No session of another worker has a place here."""


async def stay(node: SessionNode) -> None:
    with node.until_killed():
        await trio.sleep_forever()


def is_closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


async def test_every_connection_becomes_a_session_with_a_name_and_a_peer() -> None:
    seen: list[SessionNode] = []

    async def serve(node: SessionNode) -> None:
        seen.append(node)

    inn = Inn(serve)
    async with inn.open():
        with connected(inn.sock, 2) as clients:
            await wait_all_tasks_blocked()
            seen.sort(key=lambda node: node.name)
            assert [node.name for node in seen] == ["session-1", "session-2"]
            assert [node.peer for node in seen] == [client.getsockname() for client in clients]
            assert all(node.listener is inn.node and node.started == trio.current_time() for node in seen)
            assert all(map(is_closed, clients))
            assert (inn.sessions, inn.doors.capacity.taken) == ([], 0)
        inn.node.stop(0)
    assert inn.node.cut == 0


async def test_a_session_that_fails_touches_no_other(caplog: pytest.LogCaptureFixture) -> None:
    async def serve(node: SessionNode) -> None:
        if node.name == "session-1":
            raise ZeroDivisionError
        await trio.sleep_forever()

    inn = Inn(serve)
    async with inn.open():
        with connected(inn.sock, 2) as clients:
            await wait_all_tasks_blocked()
            assert [is_closed(client) for client in clients] == [True, False]
            assert inn.sessions == ["session-2"]
            with connected(inn.sock):
                await wait_all_tasks_blocked()
                assert inn.sessions == ["session-2", "session-3"]
        inn.node.stop(0)
    assert "session session-1 failed" in caplog.text
    assert (inn.node.cut, inn.doors.capacity.taken) == (2, 0)


async def test_capacity_is_exact_and_shared_by_listeners() -> None:
    ann, bob = Inn(stay, 3), Inn(stay)
    bob.doors = Doorkeeping(stay, bob._refuse, bob._relieve, ann.doors.next_name, ann.doors.capacity, admit_nobody)
    async with ann.open(), bob.open():
        with connected(ann.sock, 2):
            await wait_all_tasks_blocked()
            with connected(bob.sock, 3):
                await wait_all_tasks_blocked()
            assert (len(ann.sessions), len(bob.sessions)) == (2, 1)
            assert (ann.refused, bob.refused) == ([], ["capacity", "capacity"])
        for inn in (ann, bob):
            inn.closing_time.set()
            inn.node.stop(0)


@pytest.mark.parametrize("tells_later", [False, True])
async def test_one_address_may_have_so_many(tells_later: bool) -> None:
    inn = Inn(stay)
    inn.closing_time.set()
    inn.doors.capacity.follow(Settings(max_connections_per_source=2))
    inn.doors = replace(inn.doors, tells_later=lambda _: tells_later)
    async with inn.open():
        with connected(inn.sock, 3) as clients:
            await wait_all_tasks_blocked()
            inside = 3 if tells_later else 2
            assert (len(inn.sessions), inn.doors.capacity.taken) == (inside, inside)
            assert inn.refused == ["source"] * (3 - inside)
            assert sum(map(is_closed, clients)) == 3 - inside
            inn.node.stop(0)
    assert inn.doors.capacity.taken == 0
    assert inn.doors.capacity.places.arrive({}, "127.0.0.1")


async def test_a_place_given_back_is_free_for_the_next() -> None:
    async def serve(node: SessionNode) -> None:
        await trio.lowlevel.wait_readable(node.sock)

    inn = Inn(serve, 1)
    async with inn.open():
        for _ in range(3):
            with connected(inn.sock):
                await wait_all_tasks_blocked()
                assert len(inn.sessions) == 1
            await wait_all_tasks_blocked()
        assert inn.refused == []
        inn.node.stop(0)


async def test_politeness_to_those_refused_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "REFUSING_AT_ONCE", 2)
    inn = Inn(stay, 0)
    async with inn.open():
        with connected(inn.sock, 4) as clients:
            await wait_all_tasks_blocked()
            assert (len(inn.refused), inn.seen_off) == (4, 2)
            assert sum(map(is_closed, clients)) == 2
            inn.closing_time.set()
            await wait_all_tasks_blocked()
            assert all(map(is_closed, clients))
            with connected(inn.sock):
                await wait_all_tasks_blocked()
                assert inn.seen_off == 3
        inn.node.stop(0)


@pytest.mark.parametrize("at_once", [True, False])
async def test_a_refusal_that_fails_touches_nobody(at_once: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def see_off() -> None:
        raise ZeroDivisionError

    def refuse(sock: socket.socket, key: ListenerKey, why: Refusal) -> Goodbye:
        if at_once:
            raise ZeroDivisionError
        return see_off

    inn = Inn(stay, 1)
    inn.doors = Doorkeeping(stay, refuse, inn._relieve, inn.doors.next_name, inn.doors.capacity, admit_nobody)
    async with inn.open():
        with connected(inn.sock, 2) as clients:
            await wait_all_tasks_blocked()
            assert sorted(map(is_closed, clients)) == [False, True]
        inn.node.stop(0)
    assert "refusal failed" in caplog.text


async def test_soft_stop_lets_the_busy_finish_and_wakes_the_idle() -> None:
    finish, woken_at = trio.Event(), list[float]()

    async def serve(node: SessionNode) -> None:
        if node.name == "session-1":
            await finish.wait()
            return
        scope = trio.CancelScope()
        node.listener.drain.enter_idle(scope)
        with scope:
            await trio.sleep_forever()
        woken_at.append(trio.current_time())

    inn = Inn(serve)
    with connected(inn.sock, 2):
        async with inn.open():
            await wait_all_tasks_blocked()
            stopped = trio.current_time()
            inn.node.stop(None)
            await trio.sleep(1000)
            assert woken_at == [stopped]
            assert inn.sessions == ["session-1"]
            assert inn.sock.fileno() == -1
            finish.set()
    assert inn.node.cut == 0


async def test_no_connection_is_let_in_after_a_stop() -> None:
    inn = Inn(stay)
    address = inn.sock.getsockname()
    with connected(inn.sock):
        async with inn.open():
            await wait_all_tasks_blocked()
            inn.node.stop(5)
            await wait_all_tasks_blocked()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address)


async def test_who_had_connected_before_a_soft_stop_is_let_in() -> None:
    served: list[str] = []

    async def serve(node: SessionNode) -> None:
        assert node.listener.drain.started
        served.append(node.name)

    inn = Inn(serve)
    async with inn.open():
        await wait_all_tasks_blocked()
        with connected(inn.sock, 3) as clients:
            inn.node.stop(30)
            await wait_all_tasks_blocked()
            assert sorted(served) == ["session-1", "session-2", "session-3"]
            assert all(map(is_closed, clients))


@pytest.mark.parametrize("grace", [0, 7.5])
@pytest.mark.parametrize("inside_a_nursery", [False, True])
async def test_what_is_left_after_the_grace_is_cut_and_counted(grace: float, inside_a_nursery: bool) -> None:
    async def serve(node: SessionNode) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)

    inn = Inn(serve if inside_a_nursery else stay)
    with connected(inn.sock, 3) as clients:
        async with inn.open():
            await wait_all_tasks_blocked()
            stopped = trio.current_time()
            inn.node.stop(grace)
        assert trio.current_time() - stopped == grace
        assert all(map(is_closed, clients))
    assert (inn.node.cut, inn.sessions, inn.doors.capacity.taken) == (3, [], 0)


async def test_a_second_stop_may_have_less_patience() -> None:
    inn = Inn(stay)
    with connected(inn.sock):
        async with inn.open():
            await wait_all_tasks_blocked()
            inn.node.stop(None)
            await trio.sleep(100)
            inn.node.stop(0)
    assert inn.node.cut == 1


async def test_no_stop_gives_more_time_than_one_before() -> None:
    inn = Inn(stay)
    with connected(inn.sock):
        async with inn.open():
            await wait_all_tasks_blocked()
            begun = trio.current_time()
            inn.node.stop(10)
            await trio.sleep(5)
            inn.node.stop(None)
            inn.node.stop(30)
        assert trio.current_time() - begun == 10


async def test_one_session_can_be_ended_alone() -> None:
    inn = Inn(stay)
    with connected(inn.sock, 2) as clients:
        async with inn.open():
            await wait_all_tasks_blocked()
            inn.node.sessions["session-1"].kill()
            await wait_all_tasks_blocked()
            assert [is_closed(client) for client in clients] == [True, False]
            assert (inn.sessions, inn.node.cut) == (["session-2"], 0)
            inn.node.stop(0)


async def test_exhaustion_asks_for_relief_and_is_told_once_a_second(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    inn = Inn(stay, 100, *[OSError(errno.EMFILE, "Too many open files")] * 15)
    with connected(inn.sock):
        async with inn.open():
            await trio.sleep(3)
            assert (inn.relieved, len(inn.sessions)) == (15, 1)
            inn.node.stop(0)
    assert [record.getMessage() for record in caplog.records] == [
        "listener tcp 127.0.0.1:8080: cannot accept: Too many open files; 7 descriptors given back",
    ] * 2


async def test_who_is_shed_is_told_why_and_the_others_are_let_in() -> None:
    inn = Inn(stay)
    overload = Overload()
    inn.doors = replace(inn.doors, overload=overload)
    with connected(inn.sock, BATCH_OF_OVERLOADED + 3):
        overwhelm(overload)
        async with inn.open():
            await wait_all_tasks_blocked()
            assert inn.refused == ["overload"] * 3
            assert len(inn.sessions) == BATCH_OF_OVERLOADED
            inn.node.stop(0)


async def test_the_idle_make_room_where_they_are_to() -> None:
    told = list[int]()

    async def serve(node: SessionNode) -> None:
        scope = trio.CancelScope()
        node.listener.drain.enter_idle(scope)
        with scope:
            await trio.sleep_forever()

    def evict(most: int) -> int:
        told.append(most)
        return release_idle([inn.node.drain], most)

    inn = Inn(serve, 2)
    inn.doors = replace(inn.doors, evict=evict)
    inn.doors.capacity.follow(Settings(max_connections=2, evict_on_queue_full=True))
    async with inn.open():
        with connected(inn.sock, 2) as old:
            await wait_all_tasks_blocked()
            with connected(inn.sock, 1) as new:
                await wait_all_tasks_blocked()
                assert inn.refused == []
                assert (sum(map(is_closed, old)), is_closed(new[0])) == (1, False)
                assert (told, inn.doors.capacity.taken) == ([1], 2)
        inn.node.stop(0)
    assert inn.doors.capacity.taken == 0
