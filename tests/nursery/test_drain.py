"""Drain: who only waits is woken when it starts, and whoever begins to wait after that at once."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.nursery.drain import Drain, release_idle

pytestmark = pytest.mark.virtual_time


async def wait_idle(drain: Drain, woken: list[str], name: str) -> None:
    scope = trio.CancelScope()
    drain.enter_idle(scope)
    with scope:
        await trio.sleep_forever()
    drain.leave_idle(scope)
    woken.append(name)


async def test_start_wakes_all_who_wait() -> None:
    drain, woken = Drain(), list[str]()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_idle, drain, woken, "first")
        nursery.start_soon(wait_idle, drain, woken, "second")
        await wait_all_tasks_blocked()
        assert (drain.started, len(drain.oldest(9)), woken) == (False, 2, [])
        drain.start()
    assert (drain.started, len(drain.oldest(9)), sorted(woken)) == (True, 0, ["first", "second"])


async def test_waiting_does_not_begin_once_it_has_started() -> None:
    drain, woken = Drain(), list[str]()
    drain.start()
    await wait_idle(drain, woken, "late")
    assert woken == ["late"]
    assert len(drain.oldest(9)) == 0


async def test_start_twice_is_start() -> None:
    drain = Drain()
    drain.start()
    drain.start()
    assert drain.started


async def test_who_has_left_is_not_woken() -> None:
    drain, scope = Drain(), trio.CancelScope()
    drain.enter_idle(scope)
    drain.leave_idle(scope)
    drain.leave_idle(scope)
    drain.start()
    with scope:
        await trio.lowlevel.checkpoint()
    assert not scope.cancel_called


async def test_what_was_received_is_not_lost_to_a_drain() -> None:
    """A read that has its data returns it, though the scope was cancelled while it was on its way."""
    drain, scope = Drain(), trio.CancelScope()
    here, there = trio.socket.socketpair()
    drain.enter_idle(scope)
    got: list[bytes] = []

    async def read() -> None:
        with scope:
            got.append(await here.recv(10))

    with here, there:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await wait_all_tasks_blocked()
            await there.send(b"GET")
            await wait_all_tasks_blocked()
            drain.start()
    assert got == [b"GET"]


async def test_the_longest_waiting_are_released_whatever_their_drain() -> None:
    first, second = Drain(), Drain()
    scopes = [trio.CancelScope() for _ in range(5)]
    for drain, scope in zip((first, second, first, second, first), scopes, strict=True):
        drain.enter_idle(scope)
    assert release_idle([first, second], 3) == 3
    assert [scope.cancel_called for scope in scopes] == [True, True, True, False, False]
    assert not first.started


async def test_waiting_anew_is_waiting_from_now() -> None:
    drain, old, young = Drain(), trio.CancelScope(), trio.CancelScope()
    drain.enter_idle(old)
    drain.enter_idle(young)
    drain.leave_idle(old)
    drain.enter_idle(old)
    assert release_idle([drain], 1) == 1
    assert (old.cancel_called, young.cancel_called) == (False, True)


async def test_nobody_is_released_twice() -> None:
    drain = Drain()
    drain.enter_idle(trio.CancelScope())
    assert [release_idle([drain], 16) for _ in range(2)] == [1, 0]
    assert release_idle([], 16) == 0
    assert release_idle([drain], 0) == 0


async def test_whoever_is_released_knows_so_and_nobody_else_does() -> None:
    drain = Drain()
    scopes = [trio.CancelScope() for _ in range(3)]
    for scope in scopes:
        drain.enter_idle(scope)
    release_idle([drain], 1)
    drain.wake(scopes[1], "something else")
    assert [drain.leave_idle(scope) for scope in scopes] == [True, False, False]
    drain.enter_idle(scopes[0])
    assert not drain.leave_idle(scopes[0])


async def test_one_that_only_waits_is_woken_once() -> None:
    drain, first, second = Drain(), trio.CancelScope(), trio.CancelScope()
    drain.enter_idle(first)
    drain.enter_idle(second)
    assert drain.idle == [first, second]
    drain.leave_idle(first)
    drain.wake(first, "it is busy")
    drain.wake(second, "it moves")
    assert (first.cancel_called, second.cancel_called) == (False, True)
    assert drain.idle == []
    assert not drain.started
