"""Relays: every byte, in order, however it is cut, spliced or copied, cancelled or not."""

import random
import socket

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.limits import SPLICE_FROM
from sozu_trio.proxy.pipes import PipeStock
from sozu_trio.proxy.relay import ALONE, WORTH, Relay
from sozu_trio.proxy.stream import Stream
from tests.nursery.parts import tcp_pair
from tests.proxy.relay_ends import TEXT, Ends, receive, send

pytestmark = pytest.mark.virtual_time


@pytest.mark.parametrize("seed", range(4))
async def test_nothing_is_lost_however_it_is_cut(seed: int, ends: Ends) -> None:
    rng, got = random.Random(seed), bytearray()
    relay = ends.relay(None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, ends.client, TEXT, rng)
        nursery.start_soon(receive, ends.backend, got, len(TEXT), rng)
        nursery.start_soon(relay.run)
    assert got == TEXT
    assert (relay.moved, relay.ended, relay.failed) == (len(TEXT), True, None)
    assert (ends.client_side.bytes_in, ends.backend_side.bytes_out) == (len(TEXT), len(TEXT))


async def test_a_known_length_is_relayed_and_what_follows_is_left(ends: Ends) -> None:
    got = bytearray()
    relay = ends.relay(1 << 20)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, ends.client, TEXT[: (1 << 20) + 7])
        nursery.start_soon(receive, ends.backend, got, 1 << 20)
        await relay.run()
    assert got == TEXT[: 1 << 20]
    assert (relay.left, relay.ended) == (0, False)
    assert ends.client_side.sock.recv(100) == TEXT[1 << 20 : (1 << 20) + 7]


async def test_a_length_of_zero_waits_for_nothing(ends: Ends) -> None:
    await ends.relay(0).run()


async def test_an_end_before_the_length_is_told(ends: Ends) -> None:
    relay = ends.relay(1000)
    ends.client.send(b"only this")
    ends.client.shutdown(socket.SHUT_WR)
    await relay.run()
    assert (relay.ended, relay.left) == (True, 991)
    assert ends.backend.recv(100) == b"only this"


async def test_large_transfers_are_spliced() -> None:
    borrowed = 0

    class Counting(PipeStock):
        def borrow(self) -> object:  # type: ignore[override]
            nonlocal borrowed
            borrowed += 1
            return super().borrow()

    ends, got = Ends(Counting()), bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, ends.client, TEXT)
        nursery.start_soon(receive, ends.backend, got)
        relay = ends.relay(None)
        await relay.run()
        relay.finish()
    assert got == TEXT
    assert borrowed > 0
    ends.close()


async def test_small_messages_are_not() -> None:
    class Never(PipeStock):
        def borrow(self) -> None:
            pytest.fail("a pipe for a small message")

    ends, got = Ends(Never()), bytearray()
    relay = ends.relay(None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.run)
        for _ in range(10):
            ends.client.send(b"x" * (SPLICE_FROM - 1))
            await receive(ends.backend, got, len(got) + SPLICE_FROM - 1)
        ends.client.shutdown(socket.SHUT_WR)
    await ends.relay(SPLICE_FROM - 1).run()
    ends.close()


@pytest.mark.parametrize(("left", "moments"), [(8 << 20, 2), (WORTH - 1, 0), (None, 2)])
async def test_a_source_that_gives_little_is_left_alone_for_a_moment(left: int | None, moments: int) -> None:
    """But not for the end of a body; what comes first where no length is known is copied."""
    ends, got = Ends(PipeStock()), bytearray()
    begun = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.relay(left).run)
        for number in range(1, 7):
            ends.client.send(b"x" * SPLICE_FROM)
            await receive(ends.backend, got, number * SPLICE_FROM)
        await wait_all_tasks_blocked()
        assert ends.pipes.lent == 0
        await trio.sleep(ALONE / 2)
        nursery.cancel_scope.cancel(reason="seen")
    assert trio.current_time() - begun == pytest.approx((moments + 0.5) * ALONE)
    ends.close()


async def test_no_pipe_is_held_while_waiting(ends: Ends) -> None:
    got = bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.relay(None).run)
        await send(ends.client, TEXT[: 1 << 20], end=False)
        await receive(ends.backend, got, 1 << 20)
        await wait_all_tasks_blocked()
        assert ends.pipes.lent == 0
        nursery.cancel_scope.cancel(reason="seen")


async def test_what_has_been_passed_on_is_not_kept_until_more_comes(ends: Ends) -> None:
    relay, got = ends.relay(None), bytearray()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relay.run)
        await send(ends.client, TEXT[:1000], end=False)
        await receive(ends.backend, got, 1000)
        await wait_all_tasks_blocked()
        assert relay.held.obj == b"", "a slice of no length keeps all of its buffer"
        nursery.cancel_scope.cancel(reason="seen")


async def test_backpressure_is_not_reading(ends: Ends) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, ends.client, TEXT * 8)
        nursery.start_soon(ends.relay(None).run)
        await wait_all_tasks_blocked()
        read, written = ends.client_side.bytes_in, ends.backend_side.bytes_out
        assert read - written <= 1 << 20
        assert read < len(TEXT) * 8
        nursery.cancel_scope.cancel(reason="seen")


@pytest.mark.parametrize("seed", range(4))
async def test_cancelled_anywhere_and_run_again_it_loses_nothing(seed: int, ends: Ends) -> None:
    rng, got = random.Random(seed), bytearray()
    relay = ends.relay(None)
    times = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, ends.client, TEXT, rng)
        nursery.start_soon(receive, ends.backend, got, len(TEXT), rng)
        while not relay.ended or relay.held:
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as once:
                    once.start_soon(relay.run)
                    for _ in range(rng.randrange(30)):
                        await trio.lowlevel.checkpoint()
                    scope.cancel(reason="to see what it does")
            assert ends.pipes.lent == 0
            times += 1
            await trio.sleep(0.001)  # The clock stands still while anybody runs.
    assert got == TEXT
    assert times > 5


@pytest.mark.parametrize("left", [None, len(TEXT)])
async def test_cancelled_with_a_full_pipe_a_tunnel_holds_what_was_in_it(left: int | None) -> None:
    ends = Ends(PipeStock())
    relay = ends.relay(left)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, ends.client, TEXT)
        nursery.start_soon(relay.run)
        await wait_all_tasks_blocked()
        assert relay.piped
        nursery.cancel_scope.cancel(reason="stop")
    assert ends.pipes.lent == 0
    if left is None:
        assert relay.piped == 0
        assert relay.held
        assert bytes(relay.held) == TEXT[relay.moved :][: len(relay.held)]
    else:
        assert not relay.held, "a body goes on nowhere"
    ends.close()


async def test_a_source_that_breaks_is_known(ends: Ends) -> None:
    Stream(ends.client, 0).abort()
    relay = ends.relay(None)
    with pytest.raises(ConnectionResetError):
        await relay.run()
    assert relay.failed is ends.client_side


@pytest.mark.parametrize("amount", [10, 1 << 20])
async def test_a_sink_that_breaks_is_known(amount: int, ends: Ends) -> None:
    relay = ends.relay(None)
    Stream(ends.backend, 0).abort()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(send, ends.client, TEXT[:amount])
        with pytest.raises(OSError, match=r"reset|Broken pipe"):
            await relay.run()
        nursery.cancel_scope.cancel(reason="seen")
    assert relay.failed is ends.backend_side


class Copying(Stream):
    """One through which the kernel cannot move anything."""

    splices = False


@pytest.mark.parametrize("size", [10, SPLICE_FROM, len(TEXT)])
@pytest.mark.parametrize("copying", ["source", "sink", "neither"])
async def test_where_one_side_cannot_be_spliced_all_is_copied(size: int, copying: str) -> None:
    stock = PipeStock()
    (client, ours), (backend, theirs) = tcp_pair(), tcp_pair()
    for sock in (client, ours, backend, theirs):
        sock.setblocking(False)
    source = (Copying if copying == "source" else Stream)(ours, 0)
    sink = (Copying if copying == "sink" else Stream)(theirs, 0)
    relay = Relay(source, sink, stock, left=size, waiting=lambda _: None)
    received = bytearray()

    async def send() -> None:
        await Stream(client, 0).send(TEXT)

    async def receive() -> None:
        while len(received) < size:
            received.extend(await Stream(backend, 0).receive(1 << 20))
        nursery.cancel_scope.cancel()

    with client, ours, backend, theirs:
        async with trio.open_nursery() as nursery:
            for task in (send, receive, relay.run):
                nursery.start_soon(task)
    assert received == TEXT[:size]
    assert not stock.lent
    assert bool(stock.close()) == (copying == "neither" and size >= SPLICE_FROM)
