"""Clients slower than `min_body_rate`, and who is none although it takes its time."""

import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from sozu_trio.config.limits import PAUSE
from sozu_trio.testing import BackendConnection, Client, RunningProxy
from sozu_trio.testing.plugin import StartBackend, StartProxy
from tests.proxy.limiting import passed
from tests.proxy.parts import OK, Net, access_log, at_end, is_reset, request
from tests.proxy.secure import open_client, secure_text
from tests.proxy.test_upgrade import ASK, echo

RATE = 1000
LISTENER = f"min_body_rate = {RATE}"
BIG = 16 << 20
LENGTH = request("POST /", "Content-Length: 1000000")
CHUNKED = request("POST /", "Transfer-Encoding: chunked")


async def takes_all(connection: BackendConnection) -> None:
    """A backend that reads, and answers when a request has ended with `end`."""
    await connection.read_head()
    await connection.receive_until(b"end")
    await connection.send(OK)
    await at_end(connection)


async def trickle(client: Client, data: bytes, pause: float = 1.0) -> None:
    """One byte a second, until the proxy has had enough."""
    try:
        for byte in data:
            await client.send(bytes([byte]))
            await trio.sleep(pause)
    except trio.BrokenResourceError:
        pass


@pytest.mark.parametrize(
    ("head", "rest"),
    [
        (LENGTH, b"x" * 100),
        (CHUNKED, b"1\r\nx\r\n" * 20),
        (CHUNKED, b"1;" + b"x" * 100),
        (CHUNKED + b"0\r\n", b"A: " + b"b" * 100),
    ],
    ids=["length", "chunks", "chunk size", "trailers"],
)
async def test_a_slow_body_is_answered_408(net: Net, clock: MockClock, head: bytes, rest: bytes) -> None:
    proxy = await net.proxy(await net.backend(takes_all), listener=LISTENER)
    client = await net.client(proxy)
    await client.send(head)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trickle, client, rest)
        response = await client.response()
        assert trio.current_time() - began == pytest.approx(PAUSE, abs=1)
        nursery.cancel_scope.cancel(reason="it is refused")
    assert (response.status, response.fields[b"connection"]) == (408, b"close")
    assert await passed(proxy) == {"body_rate": 1}
    assert (await access_log(proxy, 1))[0].endswith(" 408 | the request body came too slowly")


async def test_pauses_are_forgiven_and_earned_again(net: Net, clock: MockClock) -> None:
    proxy = await net.proxy(await net.backend(takes_all), listener=LISTENER)
    client = await net.client(proxy)
    await client.send(LENGTH)
    for _ in range(10):
        await trio.sleep(PAUSE - 2)
        await client.send(b"x" * RATE * 8)
    await client.send(b"end" + b"x" * (1_000_000 - 80 * RATE - 3))
    assert (await client.response()).status == 200
    assert await passed(proxy) == {}


async def test_a_backend_that_reads_slowly_is_not_the_clients_fault(net: Net, clock: MockClock) -> None:
    async def slow(connection: BackendConnection) -> None:
        await connection.read_head()
        await trio.sleep(25)
        await connection.receive_until(b"end")
        await trio.sleep(25)
        await connection.send(OK)
        await at_end(connection)

    proxy = await net.proxy(await net.backend(slow), listener=LISTENER)
    client = await net.client(proxy)
    await client.send(request("POST /", f"Content-Length: {BIG}"))
    await client.send(b"x" * (BIG - 3) + b"end")
    assert (await client.response()).status == 200
    assert await passed(proxy) == {}


async def gives_much(connection: BackendConnection) -> None:
    await connection.read_head()
    await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG + b"x" * BIG)
    await at_end(connection)


async def gives_chunks(connection: BackendConnection) -> None:
    await connection.read_head()
    await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(BIG >> 16):
        await connection.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
    await connection.send(b"0\r\n\r\n")


Give = Callable[[BackendConnection], Awaitable[None]]


@pytest.mark.parametrize("give", [gives_much, gives_chunks])
async def test_who_reads_slowly_is_cut(net: Net, clock: MockClock, give: Give) -> None:
    backend = await net.backend(give)
    proxy = await net.proxy(backend, listener="min_body_rate = 1000000")
    client = await net.client(proxy)
    await client.send(request("GET /"))
    began = trio.current_time()
    await client.receive_until(b"\r\n\r\n")
    while backend.open:
        assert trio.current_time() - began < 2 * PAUSE
        await trio.sleep(1)
    assert trio.current_time() - began >= PAUSE
    assert await is_reset(client)
    assert await passed(proxy) == {"response_rate": 1}
    assert (await access_log(proxy, 1))[0].endswith("read the response too slowly")


@pytest.mark.parametrize("give", [gives_much, gives_chunks])
async def test_who_reads_fast_enough_gets_it_all(net: Net, clock: MockClock, give: Give) -> None:
    """One that rests between: what it takes meanwhile is no more than the rate asks for."""
    proxy = await net.proxy(await net.backend(give), listener=LISTENER)
    client = await net.client(proxy)
    await client.send(request("GET /"))
    read = 0
    while read < BIG:
        await trio.sleep(5)
        read += len(await client.receive_exactly(min(1 << 20, BIG - read)))
    assert await passed(proxy) == {}


async def test_a_slow_reader_that_sends_its_body_meanwhile(net: Net, clock: MockClock) -> None:
    """Its body is fast enough, which must not excuse that it reads nothing."""

    async def takes(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % BIG)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(give_up, connection)
            await at_end(connection)

    async def give_up(connection: BackendConnection) -> None:
        with contextlib.suppress(trio.BrokenResourceError):
            await connection.send(b"x" * BIG)

    backend = await net.backend(takes)
    proxy = await net.proxy(backend, listener="min_body_rate = 100000")
    client = await net.client(proxy)
    await client.send(CHUNKED)
    began = trio.current_time()
    while backend.open or not backend.connections:
        assert trio.current_time() - began < 2 * PAUSE
        with contextlib.suppress(trio.BrokenResourceError):
            await client.send(b"40000\r\n" + b"x" * 0x40000 + b"\r\n")
        await trio.sleep(1)
    assert await passed(proxy) == {"response_rate": 1}


async def test_events_that_come_now_and_then_are_the_backends_time(net: Net, clock: MockClock) -> None:
    async def events(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            await trio.sleep(20)
            await connection.send(b"1\r\nx\r\n")
        await connection.send(b"0\r\n\r\n")

    proxy = await net.proxy(await net.backend(events), listener=LISTENER)
    client = await net.client(proxy)
    await client.send(request("GET /"))
    assert (await client.response()).body == b"x" * 20
    assert await passed(proxy) == {}


async def test_websockets_may_be_as_slow_as_they_like(net: Net, clock: MockClock) -> None:
    proxy = await net.proxy(await net.backend(echo), listener=LISTENER)
    client = await net.client(proxy)
    await client.send(ASK)
    await client.receive_until(b"early")
    for _ in range(5):
        await trio.sleep(3 * PAUSE)
        await client.send(b"x")
        assert await client.receive_exactly(1) == b"x"
    assert await passed(proxy) == {}


@pytest.mark.virtual_time
@pytest.mark.parametrize("reads", [True, False])
async def test_the_same_within_tls(
    tmp_path: Path, start_proxy: StartProxy, start_backend: StartBackend, *, reads: bool
) -> None:
    text = secure_text(tmp_path, listener="min_body_rate = 1000000")
    proxy: RunningProxy = await start_proxy(text, api=await start_backend(gives_much if reads else takes_all))
    client = await open_client(proxy.addresses["https"])
    await client.send(request("GET /") if reads else LENGTH)
    began = trio.current_time()
    while not (seen := await passed(proxy)):
        assert trio.current_time() - began < 2 * PAUSE
        await trio.sleep(1)
        if not reads:
            await client.send(b"x")
    assert seen == {"response_rate" if reads else "body_rate": 1}
    await trio.aclose_forcefully(client.stream)
