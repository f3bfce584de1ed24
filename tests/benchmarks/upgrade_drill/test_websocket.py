"""WebSocket clients before our echo, and before servers that lose, double, reorder, spoil or cut."""

import itertools
from collections.abc import Awaitable, Callable

import pytest
import trio

from benchmarks.ports import free_port
from benchmarks.upgrade_drill.echo import echo_messages
from benchmarks.upgrade_drill.keep_alive import PATIENCE, Asked
from benchmarks.upgrade_drill.tally import Tally
from benchmarks.upgrade_drill.websocket import FROM_CLIENT, FROM_SERVER, SIZE, accept_for, keep_echoing, read_head
from tests.benchmarks.upgrade_drill.serving import Handle, serving

pytestmark = pytest.mark.virtual_time

Spoil = Callable[[int, bytes], Awaitable[bytes | None]]
"""The number of a message from 0, and its frame from the server → what goes out instead; None: the end."""


def test_accept_is_that_of_the_rfc() -> None:
    assert accept_for(b"dGhlIHNhbXBsZSBub25jZQ==") == b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455 §1.3


async def upgrade(stream: trio.SocketStream) -> None:
    head = await read_head(stream)
    key = head.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r")[0]
    await stream.send_all(b"HTTP/1.1 101 Switching\r\nSec-WebSocket-Accept: %b\r\n\r\n" % accept_for(key))


def spoiling(spoil: Spoil) -> Handle:
    async def handle(stream: trio.SocketStream) -> None:
        await upgrade(stream)
        for number in itertools.count():
            frame = b""
            while len(frame) < len(FROM_CLIENT) + SIZE:
                data = await stream.receive_some(len(FROM_CLIENT) + SIZE - len(frame))
                if not data:
                    return
                frame += data
            out = await spoil(number, FROM_SERVER + frame[len(FROM_CLIENT) :])
            if out is None:
                return
            await stream.send_all(out)

    return handle


async def talk(port: int, seconds: float = 0.95) -> Tally:
    """A message each 0.1 s."""
    tally, over = Tally(), trio.Event()
    asked = Asked(host="127.0.0.1", port=port, authority="drill.example", target="/echo")
    async with trio.open_nursery() as nursery:
        begin = trio.current_time()

        async def client() -> None:
            await keep_echoing(asked, tally, first=begin, every=0.1, over=over)

        nursery.start_soon(client)
        await trio.sleep(seconds)
        over.set()
    return tally


def counts(tally: Tally) -> tuple[int, int, int]:
    return tally.lost, tally.disordered, tally.cut


async def test_our_echo() -> None:
    async with serving(echo_messages) as port:
        tally = await talk(port)
    assert tally.messages >= 10
    assert counts(tally) == (0, 0, 0)
    assert not tally.reasons


held: list[bytes] = []


async def lose(number: int, frame: bytes) -> bytes:
    return b"" if number == 3 else frame


async def double(number: int, frame: bytes) -> bytes:
    return frame * 2 if number == 3 else frame


async def swap(number: int, frame: bytes) -> bytes:
    if number == 3:
        held[:] = [frame]
        return b""
    return frame + held.pop() if number == 4 else frame


async def spoil_number(number: int, frame: bytes) -> bytes:
    return frame.replace(bytes([0, 3]), bytes([1, 3])) if number == 3 else frame


async def spoil_text(number: int, frame: bytes) -> bytes:
    return frame[:-1] + b"?" if number == 3 else frame


async def cut(number: int, frame: bytes) -> bytes | None:
    return None if number == 3 else frame


async def late(number: int, frame: bytes) -> bytes:
    await trio.sleep(2 if number == 3 else 0)
    return frame


@pytest.mark.parametrize(
    ("spoil", "wanted"),
    [
        (lose, (1, 0, 0)),
        (double, (0, 1, 0)),
        (swap, (0, 1, 0)),
        (spoil_number, (1, 1, 0)),
        (spoil_text, (1, 1, 0)),
        (late, (0, 0, 0)),
    ],
)
async def test_judged(spoil: Spoil, wanted: tuple[int, int, int]) -> None:
    async with serving(spoiling(spoil)) as port:
        tally = await talk(port)
    assert counts(tally) == wanted
    assert tally.messages >= 10


async def test_a_session_that_is_cut() -> None:
    async with serving(spoiling(cut)) as port:
        tally = await talk(port)
    assert tally.messages in {4, 5}
    assert counts(tally) == (tally.messages - 3, 0, 1)
    assert "closed" in "".join(tally.reasons)


async def test_a_slow_echo_is_told() -> None:
    async with serving(spoiling(late)) as port:
        tally = await talk(port)
    assert 1.9 < tally.slowest_echo < 2.5


async def test_silence() -> None:
    async def forget(number: int, frame: bytes) -> bytes:
        return b""

    async with serving(spoiling(forget)) as port:
        began = trio.current_time()
        tally = await talk(port)
        assert trio.current_time() - began >= PATIENCE
    assert counts(tally) == (tally.messages, 0, 0)


async def refuse(stream: trio.SocketStream) -> None:
    await read_head(stream)
    await stream.send_all(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")


async def close(stream: trio.SocketStream) -> None:
    await read_head(stream)


async def say_nothing(stream: trio.SocketStream) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize("handle", [refuse, close, say_nothing])
async def test_not_opened(handle: Handle) -> None:
    async with serving(handle) as port:
        tally = await talk(port)
    assert (tally.messages, *counts(tally)) == (0, 0, 0, 1)
    assert "not opened" in "".join(tally.reasons)


async def test_refused() -> None:
    assert counts(await talk(free_port())) == (0, 0, 1)
