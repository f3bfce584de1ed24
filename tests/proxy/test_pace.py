"""How slow a client may be: at least RATE × (T − PAUSE) bytes in T seconds for which it was waited for."""

import math
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from sozu_trio.config.limits import PAUSE
from sozu_trio.proxy.pace import PacedPatience, carried, patience_for
from sozu_trio.proxy.patience import GRAIN, Patience, Wheel
from sozu_trio.proxy.stream import Stream

pytestmark = pytest.mark.virtual_time

RATE = 100
FAR = 1000.0
LATE = 2 * GRAIN + 1e-6


class Peer(Stream):
    """A stream of which a test says what it has carried, and that is waited for until it says so."""

    def __init__(self, timeout: float = FAR) -> None:
        super().__init__(socket.socket(socket.AF_UNIX), timeout)
        self.close()

    def carry(self, count: int) -> None:
        self.bytes_in += count


@asynccontextmanager
async def turning() -> AsyncIterator[Wheel]:
    wheel = Wheel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wheel.run)
        yield wheel
        nursery.cancel_scope.cancel(reason="the test is over")


async def waited(patience: Patience, peer: Peer, *moves: tuple[float, int]) -> float:
    """Seconds until the patience expires that waits for `peer`, which carries so many bytes after so many seconds, one
    wait for each; the last wait has no end.
    """
    began = trio.current_time()
    with patience:
        for seconds, count in moves:
            patience.expect(peer)
            await trio.sleep(seconds)
            patience.relax()
            peer.carry(count)
        patience.expect(peer)
        await trio.sleep_forever()
    return trio.current_time() - began


async def test_without_a_rate_there_is_no_pace() -> None:
    async with turning() as wheel:
        assert type(patience_for(wheel, Peer(), 0, "in")) is Patience
        assert isinstance(patience_for(wheel, Peer(), 1, "out"), PacedPatience)


@pytest.mark.parametrize(
    ("moves", "ends"),
    [
        ([], PAUSE),
        ([(1, 1)] * 5, PAUSE + 0.05),
        ([(0, 10_000)], PAUSE),
        ([(9, 10_000)], 9 + PAUSE),
        ([(9, 10_000)] * 7, 7 * 9 + PAUSE),
        ([(5, 100)], PAUSE + 1),
        ([(1, RATE)] * 50, 50 + PAUSE),
        ([(1, RATE // 2)] * 15, 15 + (PAUSE - 15 / 2)),
    ],
)
async def test_seconds_are_spent_and_earned(moves: list[tuple[float, int]], ends: float) -> None:
    async with turning() as wheel:
        peer = Peer()
        patience = PacedPatience(wheel, peer, RATE, "in")
        assert ends - LATE <= await waited(patience, peer, *moves) <= ends + LATE
        assert (patience.expired, patience.too_slow, patience.waiting_for) == (True, True, peer)


async def test_the_time_of_others_is_not_counted() -> None:
    async with turning() as wheel:
        client, backend = Peer(), Peer()
        patience = PacedPatience(wheel, client, RATE, "in")
        began = trio.current_time()
        with patience:
            for _ in range(4):
                patience.expect(client)
                await trio.sleep(2)
                patience.expect(backend)  # as a relay does: without a word that the wait for the client is over
                await trio.sleep(100)
                patience.relax()
                await trio.sleep(100)
            patience.expect(client)
            await trio.sleep_forever()
        assert trio.current_time() - began == pytest.approx(4 * 202 + 2, abs=LATE)
        assert patience.too_slow


async def test_the_backend_has_its_own_limit() -> None:
    async with turning() as wheel:
        patience = PacedPatience(wheel, Peer(), RATE, "in")
        assert await waited(patience, Peer(3)) == pytest.approx(3, abs=LATE)
        assert not patience.too_slow


@pytest.mark.parametrize("timeout", [3.0, PAUSE + 5])
async def test_silence_has_its_own_limit(timeout: float) -> None:
    async with turning() as wheel:
        peer = Peer(timeout)
        patience = PacedPatience(wheel, peer, RATE, "in")
        peer.carry(5)
        took = await waited(patience, peer)
        assert took == pytest.approx(min(timeout, PAUSE), abs=LATE)
        assert patience.too_slow is (timeout > PAUSE)


async def test_who_earns_enough_meets_the_limit_of_silence() -> None:
    """What the kernel carries is not seen by whoever waits: the wait goes on, and `timeout` with it."""
    async with turning() as wheel:
        peer = Peer(25)
        patience = PacedPatience(wheel, peer, RATE, "in")

        async def carry() -> None:
            while True:
                await trio.sleep(1)
                peer.carry(RATE)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(carry)
            assert await waited(patience, peer) == pytest.approx(25, abs=LATE)
            nursery.cancel_scope.cancel(reason="it has ended")
        assert not patience.too_slow


async def test_held_it_has_no_limit_but_its_pace() -> None:
    async with turning() as wheel:
        peer = Peer(3)
        patience = PacedPatience(wheel, peer, RATE, "in")
        patience.hold()
        assert await waited(patience, peer) == pytest.approx(PAUSE, abs=LATE)
        assert patience.too_slow


async def test_held_and_resumed_in_the_middle_of_a_wait() -> None:
    async with turning() as wheel:
        peer = Peer(3)
        patience = PacedPatience(wheel, peer, RATE, "in")
        with patience:
            patience.expect(peer)
            await trio.sleep(1)
            patience.hold()
            await trio.sleep(5)
            assert not patience.spent
            patience.resume()
            began = trio.current_time()
            await trio.sleep_forever()
        assert trio.current_time() - began == pytest.approx(3, abs=LATE)
        assert not patience.too_slow


async def test_no_deadline_while_nobody_is_waited_for() -> None:
    async with turning() as wheel:
        peer = Peer()
        patience = PacedPatience(wheel, peer, RATE, "in")
        with patience:
            patience.expect(peer)
            await trio.sleep(9)
            patience.relax()
            assert patience.deadline == math.inf
            await trio.sleep(1000)
        assert not patience.spent


@given(
    st.lists(st.tuples(st.integers(0, 72).map(lambda eighths: eighths / 8), st.integers(0, 1500)), max_size=30),
    st.integers(1, 500),
)
@settings(max_examples=100, deadline=None)
def test_the_promise_holds(moves: list[tuple[float, int]], rate: int) -> None:
    """Nobody is cut who has kept it at every moment, and nobody stays who has broken it by more than the grain."""
    trio.run(keep_the_promise, moves, rate, clock=MockClock(autojump_threshold=0))


async def keep_the_promise(moves: list[tuple[float, int]], rate: int) -> None:
    async with turning() as wheel:
        peer = Peer()
        patience = PacedPatience(wheel, peer, rate, "in")
        least, left = PAUSE, PAUSE
        with patience:
            for seconds, count in moves:
                left -= seconds
                least = min(least, left)
                patience.expect(peer)
                await trio.sleep(seconds)
                patience.relax()
                peer.carry(count)
                left = min(PAUSE, left + count / rate)
        assert patience.expired or least >= -LATE
        assert not patience.expired or least <= GRAIN


@contextmanager
def connected() -> Iterator[tuple[Stream, socket.socket]]:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as theirs:
        ours, _ = listener.accept()
        with ours:
            yield Stream(ours, 0), theirs


def both(stream: Stream) -> tuple[int, int]:
    return carried(stream, "in"), carried(stream, "out")


def test_what_was_carried_is_what_the_kernels_have_exchanged() -> None:
    with connected() as (stream, theirs):
        before = both(stream)
        assert before[0] == 0
        theirs.send(b"x" * 1000)
        stream.sock.send(b"y" * 500)
        assert theirs.recv(500, socket.MSG_WAITALL) == b"y" * 500
        theirs.send(b"z")  # it carries the acknowledgement
        assert stream.sock.recv(1001, socket.MSG_WAITALL)
        assert both(stream) == (1001, before[1] + 500)
        assert (stream.bytes_in, stream.bytes_out) == (0, 0)


def test_where_there_is_no_tcp_the_stream_has_counted() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        stream = Stream(ours, 0)
        stream.bytes_in, stream.bytes_out = 3, 4
        assert both(stream) == (3, 4)
    assert both(stream) == (3, 4), "nor when it is closed"
