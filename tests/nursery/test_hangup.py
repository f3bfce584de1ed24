"""The hangup watch: a FIN or a reset is told at once and once, to whom it concerns."""

import socket
import struct

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.nursery.hangup import HangupWatch
from tests.nursery.parts import tcp_pair

pytestmark = pytest.mark.virtual_time


async def run_until_quiet(watch: HangupWatch) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel(reason="seen")


@pytest.mark.parametrize("how", ["close", "shutdown", "reset"])
async def test_who_hangs_up_is_told_about(how: str) -> None:
    watch, gone = HangupWatch(), list[str]()
    client, ours = tcp_pair()
    with client, ours:
        watch.add(ours, lambda: gone.append("gone"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch.run)
            await wait_all_tasks_blocked()
            assert gone == []
            if how == "shutdown":
                client.shutdown(socket.SHUT_WR)
            else:
                if how == "reset":
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
            await wait_all_tasks_blocked()
            assert gone == ["gone"]
            nursery.cancel_scope.cancel(reason="seen")


async def test_bytes_are_no_hangup_and_stay_unread() -> None:
    watch, gone = HangupWatch(), list[str]()
    client, ours = tcp_pair()
    with client, ours:
        watch.add(ours, lambda: gone.append("gone"))
        client.sendall(b"GET / HTTP/1.1\r\n")
        await run_until_quiet(watch)
        assert gone == []
        assert ours.recv(100) == b"GET / HTTP/1.1\r\n"


async def test_a_hangup_before_the_watch_runs_is_told() -> None:
    watch, gone = HangupWatch(), list[str]()
    client, ours = tcp_pair()
    with ours:
        watch.add(ours, lambda: gone.append("gone"))
        client.close()
        await run_until_quiet(watch)
    assert gone == ["gone"]


async def test_only_whom_it_concerns() -> None:
    watch, gone = HangupWatch(), list[str]()
    pairs = {name: tcp_pair() for name in ("ann", "bob")}
    for name, (_, ours) in pairs.items():
        watch.add(ours, lambda name=name: gone.append(name))  # type: ignore[misc]
    pairs["bob"][0].close()
    await run_until_quiet(watch)
    assert gone == ["bob"]
    for pair in pairs.values():
        for sock in pair:
            sock.close()


async def test_who_was_removed_is_not_told() -> None:
    watch, gone = HangupWatch(), list[str]()
    client, ours = tcp_pair()
    with ours:
        watch.add(ours, lambda: gone.append("gone"))
        watch.remove(ours)
        watch.remove(ours)
        client.close()
        await run_until_quiet(watch)
    assert gone == []


async def test_a_number_may_be_used_again() -> None:
    """The next connection often gets the descriptor's number of the one before."""
    watch, gone = HangupWatch(), list[str]()
    client, ours = tcp_pair()
    watch.add(ours, lambda: gone.append("first"))
    ours.close()  # A closed socket leaves the set by itself, and cannot be removed any more.
    watch.remove(ours)
    client.close()
    again, second = tcp_pair()
    with second:
        watch.add(second, lambda: gone.append("second"))
        again.close()
        await run_until_quiet(watch)
    assert gone == ["second"]


async def test_many_at_once() -> None:
    watch, gone = HangupWatch(), set[int]()
    pairs = [tcp_pair() for _ in range(50)]
    for number, (_, ours) in enumerate(pairs):
        watch.add(ours, lambda number=number: gone.add(number))  # type: ignore[misc]
    for client, _ in pairs:
        client.close()
    await run_until_quiet(watch)
    assert gone == set(range(50))
    for _, ours in pairs:
        ours.close()
