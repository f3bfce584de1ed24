"""A stream: every byte, in order; others run meanwhile; and nothing is waited for longer than it may be."""

import contextlib
import math
import socket
import struct
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.limits import GATHER_FROM, IMMEDIATE_OPERATIONS, MOST_GATHERED
from sozu_trio.proxy.patience import Wheel
from sozu_trio.proxy.stream import Piece, Stream
from tests.proxy.parts import MEGABYTE, Pair

pytestmark = pytest.mark.virtual_time


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

    async def wake_up(abort: Callable[[Any], trio.lowlevel.Abort]) -> None:
        nonlocal times
        times += 1
        abort(None)

    with monkeypatch.context() as patched:
        patched.setattr("sozu_trio.proxy.stream.wait_task_rescheduled", wake_up)
        with trio.move_on_after(1) as scope:
            await stream.receive_later(100)
    assert (scope.cancelled_caught, times) == (True, 1), "it is waited for once more, by other means"
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


PIECES: dict[str, list[Piece]] = {
    "none": [],
    "small ones": [b"a", memoryview(b"bc"), b""],
    "many small ones": [b"abc" for _ in range(2 * MOST_GATHERED)],
    "large ones": [b"head", memoryview(MEGABYTE[: 2 * GATHER_FROM]), MEGABYTE[: 2 * GATHER_FROM]],
    "many large ones": [MEGABYTE[: 2 * GATHER_FROM] for _ in range(MOST_GATHERED + 1)],
    "more than the kernel takes": [b"head", *[memoryview(MEGABYTE)] * 8, b"end"],
}


@pytest.mark.parametrize("pieces", PIECES.values(), ids=PIECES)
async def test_pieces_arrive_as_if_they_were_one(pieces: list[Piece], pair: Pair) -> None:
    peer, stream = pair
    data = b"".join(pieces)
    received = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_pieces, stream.arranged(pieces))
        await wait_all_tasks_blocked()
        while len(received) < len(data):
            await trio.lowlevel.wait_readable(peer)
            received.extend(peer.recv(1_000_000))
    assert received == data
    assert stream.bytes_out == len(data)


async def test_pieces_wait_where_the_kernel_takes_none(pair: Pair) -> None:
    peer, stream = pair
    with contextlib.suppress(BlockingIOError):
        while True:
            stream.sock.send(MEGABYTE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.send_pieces, [MEGABYTE[: 2 * GATHER_FROM], b"end"])
        await wait_all_tasks_blocked()
        assert stream.bytes_out == 0
        received = bytearray()
        while not received.endswith(b"end"):
            await trio.lowlevel.wait_readable(peer)
            received.extend(peer.recv(1_000_000))
    assert stream.bytes_out == 2 * GATHER_FROM + len(b"end")


async def test_large_pieces_are_not_put_together(pair: Pair) -> None:
    _, stream = pair
    pieces = [memoryview(MEGABYTE[:65536])] * 3
    tracemalloc.start()
    try:
        await stream.send_pieces(stream.arranged(pieces))
        assert tracemalloc.get_traced_memory()[1] < len(MEGABYTE[:65536])
    finally:
        tracemalloc.stop()


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


@pytest.mark.parametrize("operation", ["receive", "send", "send_pieces", "count"])
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
            elif operation == "send_pieces":
                await stream.send_pieces([MEGABYTE[:GATHER_FROM]])
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


async def test_a_wait_that_fails_leaves_no_deadline(pair: Pair) -> None:
    peer, stream = pair
    patience = Wheel().patience()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()
    with pytest.raises(ConnectionResetError):
        await stream.receive_later(100, patience)
    assert (patience.waiting_for, patience.deadline) == (None, math.inf)
