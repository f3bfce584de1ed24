"""A stream: every byte, in order; others run meanwhile; and nothing is waited for longer than it may be."""

import contextlib
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.limits import IMMEDIATE_OPERATIONS
from sozu_trio.proxy.patience import Wheel
from sozu_trio.proxy.stream import Stream
from tests.nursery.parts import tcp_pair

pytestmark = pytest.mark.virtual_time

MEGABYTE = bytes(range(256)) * 4096


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, Stream]]:
    """A peer, and the stream to it."""
    peer, ours = tcp_pair()
    peer.setblocking(False)
    with peer, ours:
        yield peer, Stream(ours, 5)


Pair = tuple[socket.socket, Stream]


async def test_what_is_there_is_received_at_once(pair: Pair) -> None:
    peer, stream = pair
    peer.send(b"hello")
    assert await stream.receive(3) == b"hel"
    assert await stream.receive(100) == b"lo"
    assert stream.bytes_in == 5


@pytest.mark.parametrize("method", ["receive", "receive_later"])
async def test_what_comes_later_is_waited_for(method: str, pair: Pair) -> None:
    peer, stream = pair
    got: list[bytes] = []

    async def receive() -> None:
        got.append(await getattr(stream, method)(100))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        assert got == []
        peer.send(b"hello")
    assert (got, stream.bytes_in) == ([b"hello"], 5)


@pytest.mark.parametrize("method", ["receive", "receive_later"])
async def test_the_end_is_empty(method: str, pair: Pair) -> None:
    peer, stream = pair
    peer.shutdown(socket.SHUT_WR)
    assert await getattr(stream, method)(100) == b""


@pytest.mark.parametrize("method", ["receive", "receive_later"])
async def test_a_reset_is_an_error(method: str, pair: Pair) -> None:
    peer, stream = pair
    Stream(peer, 0).abort()
    with pytest.raises(ConnectionResetError):
        await getattr(stream, method)(100)


async def test_a_spurious_wake_up_is_waited_over(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    peer, stream = pair

    times = 0

    async def wake_up(sock: socket.socket) -> None:
        nonlocal times
        times += 1
        if times > 1:
            await trio.lowlevel.wait_readable(sock)

    with monkeypatch.context() as patched:
        patched.setattr("sozu_trio.proxy.stream.wait_readable", wake_up)
        with trio.move_on_after(1) as scope:
            await stream.receive_later(100)
    assert (scope.cancelled_caught, times) == (True, 2)
    peer.send(b"x")
    assert await stream.receive_later(100) == b"x"


async def test_more_than_the_kernel_takes_is_sent_as_the_peer_reads(pair: Pair) -> None:
    peer, stream = pair
    received = bytearray()

    async def read() -> None:
        while len(received) < 8 * len(MEGABYTE):
            await trio.lowlevel.wait_readable(peer)
            received.extend(peer.recv(100_000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send, 8 * MEGABYTE)
        await wait_all_tasks_blocked()
        assert 0 < stream.bytes_out < 8 * len(MEGABYTE)
        nursery.start_soon(read)
    assert received == 8 * MEGABYTE
    assert stream.bytes_out == len(received)


async def test_nothing_to_send_is_nothing(pair: Pair) -> None:
    _, stream = pair
    await stream.send(b"")
    assert stream.bytes_out == 0


async def test_after_a_failed_send_it_is_known_what_the_kernel_took(pair: Pair) -> None:
    peer, stream = pair

    async def leave() -> None:
        await wait_all_tasks_blocked()
        Stream(peer, 0).abort()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            await stream.send(64 * MEGABYTE)
    assert 0 < stream.bytes_out < 64 * len(MEGABYTE)


@pytest.mark.parametrize("operation", ["receive", "send", "count"])
async def test_others_run_after_so_many_immediate_operations(operation: str, pair: Pair) -> None:
    peer, stream = pair
    peer.send(b"x" * 10 * IMMEDIATE_OPERATIONS)
    steps = 0
    done_at: list[int] = []

    async def others() -> None:
        nonlocal steps
        while not done_at:
            steps += 1
            await trio.lowlevel.checkpoint()

    async def work() -> None:
        for _ in range(5 * IMMEDIATE_OPERATIONS):
            if operation == "receive":
                await stream.receive(1)
            elif operation == "send":
                await stream.send(b"x")
            else:
                await stream.count()
        done_at.append(steps)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(others)
        nursery.start_soon(work)
    assert 4 <= done_at[0] <= 6


async def test_patience_is_for_the_peer_that_is_waited_for(pair: Pair) -> None:
    peer, stream = pair
    wheel = Wheel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wheel.run)
        begun = trio.current_time()
        with wheel.patience() as patience:
            await stream.receive(1, patience)
        assert patience.expired
        assert stream.timeout <= trio.current_time() - begun < stream.timeout + 0.2
        peer.send(b"x")
        with wheel.patience() as patience:
            await stream.receive_later(1, patience)
            await trio.sleep(2 * stream.timeout)  # Nobody is waited for.
        assert not patience.expired
        begun = trio.current_time()
        with wheel.patience() as patience:
            await stream.send(8 * MEGABYTE, patience)
        assert patience.expired
        assert patience.waiting_for is stream
        nursery.cancel_scope.cancel(reason="seen")


async def test_each_wait_has_its_whole_time(pair: Pair) -> None:
    peer, stream = pair
    wheel = Wheel()

    async def drip() -> None:
        for _ in range(10):
            await trio.sleep(stream.timeout - 1)
            peer.send(b"x")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wheel.run)
        nursery.start_soon(drip)
        with wheel.patience() as patience:
            for _ in range(10):
                assert await stream.receive(1, patience) == b"x"
        assert not patience.expired
        nursery.cancel_scope.cancel(reason="seen")


async def test_quiet_is_neither_a_word_nor_an_end(pair: Pair) -> None:
    peer, stream = pair
    assert stream.is_quiet()
    peer.send(b"x")
    assert not stream.is_quiet()
    assert await stream.receive(10) == b"x"  # Looking took nothing.
    assert stream.is_quiet()
    peer.close()
    assert not stream.is_quiet()


async def test_a_reset_connection_is_not_quiet(pair: Pair) -> None:
    peer, stream = pair
    Stream(peer, 0).abort()
    assert not stream.is_quiet()


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
    for operation in (partial(stream.receive, 1), partial(stream.receive_later, 1), partial(stream.send, b"x")):
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


async def test_left_it_lives_on_where_it_has_gone() -> None:
    ours, theirs = socket.socketpair()
    next_one, peer = socket.socketpair()
    ours.setblocking(False)
    stream = Stream(ours, 0)
    number = ours.fileno()
    with ours.dup() as elsewhere, next_one, peer:
        with trio.move_on_after(0.01):
            await stream.wait_readable()
        stream.leave()
        assert stream.is_closed
        os.dup2(next_one.fileno(), number)
        theirs.close()
        with trio.move_on_after(0.01) as waiting:
            await trio.lowlevel.wait_readable(number)
        assert waiting.cancelled_caught, "whoever got its number is woken for what happens to it"
        trio.lowlevel.notify_closing(number)
        os.close(number)
        assert elsewhere.recv(1) == b""
