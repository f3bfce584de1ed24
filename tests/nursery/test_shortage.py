"""Rests from accepting end when clients have left of themselves, or after a while."""

import errno
import socket
from collections.abc import Callable
from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.limits import EXHAUSTED_PAUSE
from sozu_trio.nursery.listener import SessionNode
from sozu_trio.nursery.shortage import Shortage
from tests.nursery.parts import connected
from tests.nursery.test_listener import Inn

pytestmark = pytest.mark.virtual_time

FREE = 4
"""Descriptors that are free for clients."""


async def lasts(shortage: Shortage, asked: int, given_back: int) -> float:
    """Seconds of a rest in which, halfway, so many are given back."""
    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shortage.rest, asked)
        await trio.sleep(EXHAUSTED_PAUSE / 2)
        for _ in range(given_back):
            shortage.given_back()
            await wait_all_tasks_blocked()
    return trio.current_time() - begun


@pytest.mark.parametrize(
    ("asked", "given_back", "part"), [(0, 0, 1), (0, 1, 1 / 2), (0, 9, 1 / 2), (3, 3, 1), (3, 4, 1 / 2)]
)
async def test_a_rest_ends_early_when_more_than_asked_is_given_back(asked: int, given_back: int, part: float) -> None:
    assert await lasts(Shortage(), asked, given_back) == pytest.approx(part * EXHAUSTED_PAUSE)


async def test_what_was_given_back_before_does_not_count() -> None:
    shortage = Shortage()
    shortage.given_back()
    assert await lasts(shortage, 0, 0) == pytest.approx(EXHAUSTED_PAUSE)


async def test_all_who_rest_are_woken() -> None:
    shortage = Shortage()
    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shortage.rest)
        nursery.start_soon(shortage.rest)
        await wait_all_tasks_blocked()
        shortage.given_back()
    assert trio.current_time() == begun


async def read_to_the_end(node: SessionNode) -> None:
    while True:
        await trio.lowlevel.wait_readable(node.sock)
        if not node.sock.recv(1):
            return


def few_descriptors(inn: Inn) -> Callable[[], tuple[socket.socket, object]]:
    """`accept` of its socket, where no more than FREE descriptors are free."""
    accept = inn.sock.accept

    def accept_or_fail() -> tuple[socket.socket, object]:
        if len(inn.sessions) >= FREE:
            raise OSError(errno.EMFILE, "Too many open files")
        return accept()

    return accept_or_fail


async def test_who_has_waited_and_gone_is_passed_in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd behind few descriptors that has left holds up nobody who comes then."""
    served: list[str] = []

    async def serve(node: SessionNode) -> None:
        served.append(node.name)
        await read_to_the_end(node)

    inn = Inn(serve)
    inn.relief = 0
    monkeypatch.setattr(inn.sock, "accept", few_descriptors(inn))
    async with inn.open():
        with connected(inn.sock, 100):
            await trio.sleep(5 * EXHAUSTED_PAUSE)
            assert (len(served), inn.relieved) == (FREE, 5), "full: a look now and then, not more"
        left_at = trio.current_time()
        with connected(inn.sock):
            await wait_all_tasks_blocked()
            assert (len(served), trio.current_time()) == (101, left_at)
        inn.node.stop(0)


async def test_who_is_asked_to_leave_does_not_make_room_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is for those inside, who may need a descriptor for a backend."""
    leave = trio.Event()

    async def serve(node: SessionNode) -> None:
        await leave.wait()

    def ask() -> int:
        leave.set()
        return FREE

    inn = Inn(serve)
    inn.doors = replace(inn.doors, relieve=ask)
    monkeypatch.setattr(inn.sock, "accept", few_descriptors(inn))
    async with inn.open():
        with connected(inn.sock, FREE + 1):
            await wait_all_tasks_blocked()
            assert inn.sessions == []
            leave = trio.Event()
            await trio.sleep(EXHAUSTED_PAUSE)
            await wait_all_tasks_blocked()
            assert len(inn.sessions) == 1
            leave.set()
        inn.node.stop(0)
