"""How a stream ends: by a word, a reset, under whoever uses it, or by going to another worker."""

import contextlib
import os
import socket
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.limits import GATHER_FROM
from sozu_trio.nursery.readiness import Readable
from sozu_trio.proxy.stream import Stream
from tests.nursery.parts import tcp_pair
from tests.nursery.waiting import wait_for
from tests.proxy.parts import MEGABYTE, Pair

pytestmark = pytest.mark.virtual_time


async def test_shutdown_leaves_reading_open(pair: Pair) -> None:
    peer, stream = pair
    stream.shutdown()
    assert peer.recv(1) == b""
    peer.send(b"still")
    assert await stream.receive(100) == b"still"
    stream.shutdown()


async def test_shutdown_of_what_is_gone_is_no_error(pair: Pair) -> None:
    peer, stream = pair
    Stream(peer, 0).abort()
    with pytest.raises(ConnectionResetError):
        await stream.receive(1)
    stream.shutdown()
    stream.close()
    stream.shutdown()


async def test_any_other_error_of_shutdown_is_one() -> None:
    class Broken(socket.socket):
        def shutdown(self, how: int) -> None:
            raise OSError(22, "Invalid argument")

    with Broken() as broken, pytest.raises(OSError, match="Invalid argument"):
        Stream(broken, 0).shutdown()


async def test_abort_is_a_reset_and_close_is_not() -> None:
    for end, expected in (("abort", ConnectionResetError), ("close", None)):
        peer, ours = tcp_pair()
        stream = Stream(ours, 0)
        getattr(stream, end)()
        getattr(stream, end)()
        with peer:
            if expected:
                with pytest.raises(expected):
                    peer.recv(1)
            else:
                assert peer.recv(1) == b""


@pytest.mark.parametrize("method", ["receive", "receive_later"])
async def test_who_waits_for_a_stream_that_is_severed_meets_a_reset(method: str, pair: Pair) -> None:
    peer, stream = pair
    met: list[OSError] = []

    async def use(operation: Callable[[], Awaitable[object]]) -> None:
        with pytest.raises(ConnectionResetError, match="cut by the operator") as caught:
            await operation()
        met.append(caught.value)

    fill(stream)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(use, partial(getattr(stream, method), 100))
        nursery.start_soon(use, partial(stream.send, MEGABYTE))
        await wait_all_tasks_blocked()
        stream.sever()
    assert len(met) == 2
    assert is_reset(peer)


async def test_who_turns_to_a_severed_stream_meets_a_reset_though_all_had_come(pair: Pair) -> None:
    peer, stream = pair
    peer.send(b"all there is")
    peer.shutdown(socket.SHUT_WR)
    stream.sever()
    large = [MEGABYTE[:GATHER_FROM]]
    for operation in (
        *(partial(stream.receive, 1), partial(stream.receive_later, 1)),
        *(partial(stream.send, b"x"), partial(stream.send_pieces, large)),
    ):
        with pytest.raises(ConnectionResetError):
            await operation()
    with pytest.raises(ConnectionResetError):
        stream.sock.fileno()
    stream.shutdown()
    stream.abort()
    stream.close()
    stream.sever()
    assert stream.is_closed


async def test_severing_what_is_closed_does_nothing(pair: Pair) -> None:
    _, stream = pair
    stream.close()
    stream.sever()
    assert stream.is_closed


def fill(stream: Stream) -> None:
    """Send until no more fits."""
    with contextlib.suppress(BlockingIOError):
        while True:
            stream.sock.send(MEGABYTE)


def is_reset(peer: socket.socket) -> bool:
    try:
        while peer.recv(1 << 20):
            pass
    except ConnectionResetError:
        return True
    return False


@pytest.mark.parametrize("same", [True, False])
async def test_left_it_lives_on_where_it_has_gone(*, same: bool) -> None:
    """Also where it was another Stream that has waited for it."""
    ours, theirs = socket.socketpair()
    next_one, peer = socket.socketpair()
    ours.setblocking(False)
    stream = Stream(ours, 0)
    number = ours.fileno()
    with ours.dup() as elsewhere, next_one, peer:
        with trio.move_on_after(0.01):
            await (stream if same else Stream(ours, 0)).wait_readable()
        stream.leave()
        assert stream.is_closed
        os.dup2(next_one.fileno(), number)
        with socket.socket(fileno=number) as has_its_number:
            theirs.close()
            for wait in (trio.lowlevel.wait_readable, lambda sock: wait_for(Readable(sock))):
                with trio.move_on_after(0.01) as waiting:
                    await wait(has_its_number)
                assert waiting.cancelled_caught, "whoever got its number is woken for what happens to it"
            trio.lowlevel.notify_closing(has_its_number)
        assert elsewhere.recv(1) == b""
