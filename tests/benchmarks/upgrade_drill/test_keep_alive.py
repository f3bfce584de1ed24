"""HTTP clients before servers that answer wrongly, in part, too much, late or not at all: nothing may go unnoticed."""

import socket
import struct
from collections.abc import Sequence

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from benchmarks.ports import free_port
from benchmarks.upgrade_drill.keep_alive import (
    PATIENCE,
    Asked,
    Client,
    NoAnswer,
    asked_by,
    keep_asking,
    keep_connecting,
    probe,
)
from benchmarks.upgrade_drill.tally import Tally
from tests.benchmarks.upgrade_drill.serving import Handle, serving

pytestmark = pytest.mark.virtual_time

RIGHT = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nright\r\n0\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nright"
UNTIL_THE_END = b"HTTP/1.0 200 OK\r\n\r\nright"


def asking(port: int) -> Asked:
    return Asked(host="127.0.0.1", port=port, authority="drill.example", body=b"right")


def answering(*answers: bytes) -> Handle:
    """Each connection gets the answers, one for each request, and is closed when there are none left."""

    async def handle(stream: trio.SocketStream) -> None:
        for answer in answers:
            if not await stream.receive_some():
                return
            await stream.send_all(answer)

    return handle


async def silence(stream: trio.SocketStream) -> None:
    async for _ in stream:
        pass


async def reset(stream: trio.SocketStream) -> None:
    await stream.receive_some()
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def asked_times(port: int, times: int) -> Tally:
    tally = Tally()
    async with Client(asking(port), tally) as client:
        for _ in range(times):
            await client.ask(trio.current_time())
            await wait_all_tasks_blocked(0.01)
    return tally


def counts(tally: Tally) -> tuple[int, int, int]:
    return tally.requests, tally.failures, tally.closed


@pytest.mark.parametrize(
    ("answers", "times", "wanted"),
    [
        pytest.param([RIGHT, RIGHT, CHUNKED, RIGHT], 3, (3, 0, 0), id="right"),
        pytest.param([RIGHT], 2, (2, 0, 1), id="closed while idle"),
        pytest.param([CLOSING], 2, (2, 0, 2), id="says that it closes"),
        pytest.param([UNTIL_THE_END], 1, (1, 0, 1), id="ends with the connection"),
        pytest.param([], 1, (1, 1, 1), id="closed without an answer"),
        pytest.param([RIGHT[:-1]], 1, (1, 1, 1), id="cut in the body"),
        pytest.param([CHUNKED[:-2]], 1, (1, 1, 1), id="cut before the end of the chunks"),
        pytest.param([RIGHT[:20]], 1, (1, 1, 1), id="cut in the head"),
        pytest.param([RIGHT.replace(b"200", b"503"), RIGHT], 1, (1, 1, 0), id="another status"),
        pytest.param([RIGHT.replace(b"right", b"wrong"), RIGHT], 1, (1, 1, 0), id="another body"),
        pytest.param([RIGHT.replace(b"5", b"3"), RIGHT], 1, (1, 1, 0), id="more than its length"),
        pytest.param([RIGHT + RIGHT, RIGHT], 1, (1, 1, 0), id="two answers"),
        pytest.param([b"SSH-2.0-OpenSSH\r\n\r\n", RIGHT], 1, (1, 1, 0), id="not HTTP"),
    ],
)
async def test_judged(answers: Sequence[bytes], times: int, wanted: tuple[int, int, int]) -> None:
    async with serving(answering(*answers)) as port:
        tally = await asked_times(port, times)
    assert counts(tally) == wanted
    assert bool(tally.reasons) == (wanted[1:] != (0, 0))


async def test_late_bytes_fail_the_next_request() -> None:
    async def handle(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(RIGHT)
        await trio.sleep(1)
        await stream.send_all(b"surprise")
        await silence(stream)

    tally = Tally()
    async with serving(handle) as port, Client(asking(port), tally) as client:
        await client.ask(trio.current_time())
        await trio.sleep(2)
        await client.ask(trio.current_time())
    assert counts(tally) == (2, 1, 0)
    assert "nobody had asked for: b'surprise'" in "".join(tally.reasons)


async def test_no_answer_in_time() -> None:
    async with serving(silence) as port:
        began = trio.current_time()
        tally = await asked_times(port, 1)
        assert trio.current_time() - began >= PATIENCE
    assert counts(tally) == (1, 1, 0)
    assert tally.reasons == {f"request: not complete within {PATIENCE} s": 1}


async def test_reset() -> None:
    async with serving(reset) as port:
        assert counts(await asked_times(port, 1)) == (1, 1, 1)


async def test_refused() -> None:
    tally = await asked_times(free_port(), 2)
    assert counts(tally) == (2, 2, 0)


async def test_time_counts_from_when_a_request_was_due() -> None:
    async def handle(stream: trio.SocketStream) -> None:
        answers = 0
        while await stream.receive_some():
            await trio.sleep(0 if answers else 3)
            await stream.send_all(RIGHT)
            answers += 1

    tally, over = Tally(), trio.Event()
    async with serving(handle) as port, trio.open_nursery() as nursery:
        begin = trio.current_time()

        async def ask() -> None:
            await keep_asking(asking(port), tally, first=begin, every=1, over=over)

        nursery.start_soon(ask)
        await trio.sleep_until(begin + 3.5)
        assert tally.requests == 4  # those of 0, 1, 2 and 3 s: three of them waited
        assert 3 <= tally.slowest < 3.4
        over.set()
    assert counts(tally) == (5, 0, 0)


async def test_new_connections() -> None:
    tally, over = Tally(), trio.Event()
    async with serving(answering(CLOSING)) as port, trio.open_nursery() as nursery:
        begin = trio.current_time()

        async def connect() -> None:
            await keep_connecting(asking(port), tally, first=begin, every=0.1, over=over)

        nursery.start_soon(connect)
        await trio.sleep_until(begin + 0.95)
        over.set()
    assert (tally.connections, *counts(tally)) == (11, 11, 0, 0)


async def test_new_connections_that_fail() -> None:
    tally, over = Tally(), trio.Event()
    over.set()
    port = free_port()
    async with Client(asking(port), tally, keep_alive=False) as client:
        await client.ask(trio.current_time())
    assert counts(tally) == (1, 1, 0)


async def test_probe() -> None:
    async with serving(answering(CLOSING.replace(b"200", b"401"))) as port:
        assert await probe(asking(port)) == 401
    with pytest.raises(NoAnswer):
        await probe(asking(port))


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://example", Asked(host="example", port=80, authority="example")),
        ("http://a.example:81/b?c=d", Asked(host="a.example", port=81, authority="a.example:81", target="/b?c=d")),
        ("http://[::1]:81/", Asked(host="::1", port=81, authority="[::1]:81")),
    ],
)
def test_urls(url: str, wanted: Asked) -> None:
    assert asked_by(url) == wanted


@pytest.mark.parametrize("url", ["https://example", "example", "http:///path", "http://example:many/"])
def test_other_urls(url: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        asked_by(url)
