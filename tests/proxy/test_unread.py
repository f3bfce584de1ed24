"""A client that does not read: what counts as sent and is not yet is sent before anything else, or cut and told of."""

import socket
from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from sozu_trio.proxy.stream import Stream
from sozu_trio.testing import BackendConnection
from tests.proxy.parts import Alone, Net, is_reset, open_alone, request

pytestmark = pytest.mark.usefixtures("leaving")

SMALLEST = 4608
"""Bytes of a send buffer that the kernel makes no smaller."""
REQUESTS = 20
"""So many that their responses are too much for it."""
FRONT_TIMEOUT = 60


def body_of(path: bytes) -> bytes:
    return path.ljust(2000, b".")


async def answer(connection: BackendConnection) -> None:
    """Answers each request with a body that tells its path."""
    while True:
        path = (await connection.read_head()).split(b" ")[1]
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n" + body_of(path))


@pytest.fixture
def streams(monkeypatch: pytest.MonkeyPatch) -> list[Stream]:
    """All that were made; each has the smallest buffer there is."""
    streams: list[Stream] = []
    make = Stream.__init__

    def remember(stream: Stream, sock: socket.socket, timeout: float) -> None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST)
        make(stream, sock, timeout)
        streams.append(stream)

    monkeypatch.setattr(Stream, "__init__", remember)
    return streams


@pytest.fixture
async def unread(net: Net, streams: list[Stream], request: pytest.FixtureRequest) -> AsyncIterator[Alone]:
    """A session whose client has asked for more than it has read, so that the proxy is in the middle of a response."""
    running = await net.proxy(await net.backend(answer), listener=f"front_timeout = {FRONT_TIMEOUT}")
    async with open_alone(running.config) as alone:
        for number in range(REQUESTS):
            await alone.client.send(ask(number))
            await trio.sleep(0.01)
        in_a_volley = "volley" in request.node.name
        assert any(stream.owes for stream in streams) == in_a_volley
        assert bool(alone.drain.idle) == in_a_volley
        yield alone


def ask(number: int) -> bytes:
    return request(f"GET /{number}")


async def read_whole(alone: Alone, first: int = 0, last: int = REQUESTS) -> None:
    """Each response, whole and in its place."""
    for number in range(first, last):
        response = await alone.client.response()
        assert (response.status, response.body) == (200, body_of(b"/%d" % number))


async def test_who_reads_at_last_gets_all(unread: Alone, clock: MockClock) -> None:
    await read_whole(unread)


async def test_a_wake_up_in_between_loses_nothing(unread: Alone, clock: MockClock) -> None:
    for waiter in unread.drain.idle:
        unread.drain.wake(waiter, "its listener is another one")
    await trio.sleep(1)
    await read_whole(unread)
    await unread.client.send(ask(0))
    await read_whole(unread, last=1)


async def test_a_drain_waits_for_the_end_of_the_response(unread: Alone, clock: MockClock) -> None:
    unread.drain.start()
    await trio.sleep(1)
    responses = 0
    while True:
        response = await unread.client.response()
        assert response.body == body_of(b"/%d" % responses)
        responses += 1
        if response.fields.get(b"connection") == b"close":
            break
    assert responses > 1
    assert await unread.client.receive_all() == b""


async def test_one_that_takes_too_long_is_cut_and_counted(unread: Alone, clock: MockClock) -> None:
    await trio.sleep(FRONT_TIMEOUT + 1)
    assert await is_reset(unread.client)
    assert (unread.proxy.counters.limited_response_time, unread.proxy.counters.limited_idle) == (1, 0)


async def test_one_whose_descriptors_are_needed_is_cut_where_it_counts_as_idle(unread: Alone, clock: MockClock) -> None:
    waiters = unread.drain.idle
    for waiter in waiters:
        unread.drain.release(waiter)
    if waiters:
        assert await is_reset(unread.client)
    else:
        await read_whole(unread)
    assert unread.proxy.counters.limited_response_time == len(waiters)


async def test_one_that_is_cut_by_the_operator_ends_by_reset(unread: Alone, clock: MockClock) -> None:
    unread.scope.cancel(reason="hard stop")
    assert await is_reset(unread.client)
    assert unread.proxy.counters.limited_response_time == 0


async def test_one_that_is_killed_ends_by_reset_and_is_told_of(
    unread: Alone, net: Net, streams: list[Stream], clock: MockClock
) -> None:
    owes = any(stream.owes for stream in streams)
    unread.session.kill()
    assert await is_reset(unread.client)
    told = [line for line in net.proxies[0].log if "has not read all of a response that was logged" in line]
    assert len(told) == owes
    assert unread.proxy.counters.limited_response_time == 0
