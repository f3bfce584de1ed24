"""TCP clients before our echo, and before servers that change, lose, add, cut or do not read."""

from collections.abc import Callable

import pytest
import trio

from benchmarks.ports import free_port
from benchmarks.upgrade_drill.echo import echo_bytes
from benchmarks.upgrade_drill.keep_alive import PATIENCE
from benchmarks.upgrade_drill.tally import Tally
from benchmarks.upgrade_drill.tcp import PIECE, keep_streaming
from tests.benchmarks.upgrade_drill.serving import Handle, serving

pytestmark = pytest.mark.virtual_time

HERE = 3 * PIECE
"""Where in the stream something goes wrong."""


def spoiling(spoil: Callable[[bytes], bytes]) -> Handle:
    """An echo that has `spoil` change the byte at HERE."""

    async def handle(stream: trio.SocketStream) -> None:
        passed = 0
        async for data in stream:
            at = HERE - passed
            out = bytes(data)
            if 0 <= at < len(out):
                out = out[:at] + spoil(out[at : at + 1]) + out[at + 1 :]
            passed += len(data)
            await stream.send_all(out)
        await stream.send_eof()

    return handle


async def stream_to(port: int) -> Tally:
    """A piece each 0.1 s."""
    tally, over = Tally(), trio.Event()
    async with trio.open_nursery() as nursery:
        begin = trio.current_time()

        async def client() -> None:
            await keep_streaming(("127.0.0.1", port), "seed", tally, first=begin, every=0.1, over=over)

        nursery.start_soon(client)
        await trio.sleep(0.95)
        over.set()
    return tally


def counts(tally: Tally) -> tuple[int, int, int]:
    return tally.missing, tally.wrong, tally.cut


async def test_our_echo() -> None:
    async with serving(echo_bytes) as port:
        tally = await stream_to(port)
    assert tally.streamed >= 10 * PIECE
    assert counts(tally) == (0, 0, 0)
    assert not tally.reasons


async def test_a_changed_byte() -> None:
    async with serving(spoiling(lambda byte: bytes([byte[0] ^ 1]))) as port:
        assert counts(await stream_to(port)) == (0, 1, 0)


async def test_a_lost_byte() -> None:
    async with serving(spoiling(lambda byte: b"")) as port:
        missing, wrong, cut = counts(await stream_to(port))
    assert (missing, cut) == (1, 1)
    assert wrong > PIECE


async def test_a_byte_too_many() -> None:
    async with serving(spoiling(lambda byte: byte * 2)) as port:
        missing, wrong, cut = counts(await stream_to(port))
    assert (missing, cut) == (0, 0)
    assert wrong > PIECE


async def test_a_byte_too_many_at_the_end() -> None:
    async def handle(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(data)
        await stream.send_all(b"!")

    async with serving(handle) as port:
        missing, wrong, cut = counts(await stream_to(port))
    assert (missing, cut) == (0, 0)
    assert wrong in {1, 2}  # it differs from what would come next, unless by chance, and is one more than was sent


async def test_cut_in_the_middle() -> None:
    async def handle(stream: trio.SocketStream) -> None:
        received = 0
        while received < HERE:
            data = await stream.receive_some()
            received += len(data)
            await stream.send_all(data)

    async with serving(handle) as port:
        tally = await stream_to(port)
    assert tally.cut == 1
    assert tally.missing == tally.streamed - HERE
    assert tally.wrong == 0


async def test_half_closed_in_the_middle() -> None:
    async def handle(stream: trio.SocketStream) -> None:
        await stream.send_eof()
        async for _ in stream:
            pass

    async with serving(handle) as port:
        tally = await stream_to(port)
    assert counts(tally) == (tally.streamed, 0, 1)


async def test_the_end_never_comes() -> None:
    async def handle(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(bytes(data)[:-1])
        await trio.sleep_forever()

    async with serving(handle) as port:
        began = trio.current_time()
        tally = await stream_to(port)
        assert trio.current_time() - began >= PATIENCE
    assert tally.missing > 0
    assert tally.cut == 1


async def test_refused() -> None:
    assert counts(await stream_to(free_port())) == (0, 0, 1)


async def test_all_but_the_end_comes() -> None:
    async def handle(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(data)
        await trio.sleep_forever()

    async with serving(handle) as port:
        assert counts(await stream_to(port)) == (0, 0, 1)
