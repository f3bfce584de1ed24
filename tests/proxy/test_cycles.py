"""Nothing of those who have gone is left to the garbage collector, which seldom looks (`nursery/garbage.py`)."""

import contextlib
import gc
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest
import trio
from trio.testing import MockClock

from sozu_trio.proxy.exchange import Exchange
from sozu_trio.proxy.http1 import HttpConnection
from sozu_trio.proxy.tls_stream import TlsStream
from sozu_trio.proxy.upload import Upload
from sozu_trio.testing import BackendConnection, Client
from tests.proxy.https_house import House
from tests.proxy.parts import OK, Net, at_end, request
from tests.proxy.secure import tls_of, vanish

MANY = 6
LASTS = 60
"""Seconds after which all of them have gone, in virtual time."""
LISTENER = "min_body_rate = 1000\nfront_timeout = 20\nback_timeout = 20\nmax_body_size = 1000000"
LENGTH = request("PUT /taken", "Content-Length: 100000")
CHUNKED = request("PUT /taken", "Transfer-Encoding: chunked")


async def backend(connection: BackendConnection) -> None:
    """What it does is in the path."""
    while True:
        head = await connection.read_head()
        if b" /taken" in head:
            await connection.receive_until(b"end")
        elif b" /never" in head:
            await at_end(connection)
        elif b" /broken" in head:
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
            return
        elif b" /dropped" in head:
            return
        await connection.send(OK)


async def leave(client: Client) -> None:
    await client.close()


async def reset(client: Client) -> None:
    await client.reset()


async def stay(client: Client) -> None:
    """Until it is cut."""
    with contextlib.suppress(trio.BrokenResourceError):
        await client.receive_all()
    await client.close()


@pytest.fixture
def collector_is_off() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("collector_is_off")
@pytest.mark.parametrize(
    ("parts", "end"),
    [
        pytest.param([request("GET /")], leave, id="served"),
        pytest.param([request("GET /"), request("GET /")], leave, id="served twice"),
        pytest.param([request("GET /dropped")], leave, id="no response"),
        pytest.param([request("GET /"), request("GET /dropped")], leave, id="tried again"),
        pytest.param([request("GET /broken")], stay, id="half a response"),
        pytest.param([request("GET /never")], stay, id="backend too slow"),
        pytest.param([request("GET /never")], leave, id="leaves waiting"),
        pytest.param([request("GET /never")], reset, id="resets waiting"),
        pytest.param([b"GET / HT"], stay, id="head too slow"),
        pytest.param([b"nonsense\r\n\r\n"], stay, id="no head"),
        pytest.param([LENGTH, b"x" * 1000 + b"end", b"x" * 98997], leave, id="body in parts"),
        pytest.param([CHUNKED, b"3\r\nend\r\n", b"0\r\n\r\n"], leave, id="chunks in parts"),
        pytest.param([LENGTH, b"x"], stay, id="body too slow"),
        pytest.param([CHUNKED, b"1;"], stay, id="chunks too slow"),
        pytest.param([LENGTH, b"x"], leave, id="leaves in its body"),
        pytest.param([LENGTH, b"x"], reset, id="resets in its body"),
        pytest.param([CHUNKED, b"nonsense\r\n"], stay, id="no chunk"),
        pytest.param([CHUNKED, b"F4241\r\n" + b"x" * 1_000_001], stay, id="too large"),
        pytest.param([request("PUT /never", "Content-Length: 9"), b"x" * 9], stay, id="backend too slow after a body"),
    ],
)
async def test_who_has_gone_leaves_nothing(
    net: Net, clock: MockClock, parts: list[bytes], end: Callable[[Client], Awaitable[None]]
) -> None:
    proxy = await net.proxy(await net.backend(backend), listener=LISTENER)
    before = alive()
    for _ in range(MANY):
        client = await net.client(proxy)
        for part in parts:
            await client.send(part)
            await trio.sleep(0.1)
        await end(client)
    await trio.sleep(LASTS)
    assert len(proxy.access_log) >= MANY
    grown = {kind.__name__: number - before[kind] for kind, number in alive().items() if number - before[kind] > 1}
    assert grown == {}, "but for the one that was told last"


async def test_nothing_is_kept_of_those_who_have_gone(net: Net, clock: MockClock) -> None:
    proxy = await net.proxy(await net.backend(backend), listener="back_timeout = 0")
    clients = [await net.client(proxy) for _ in range(MANY)]
    for client in clients:
        await client.send(request("GET /never"))
    await trio.sleep(1)
    for client in clients:
        await (client.close() if client is clients[0] else client.reset())
    await trio.sleep(1)
    assert len(proxy.access_log) == MANY
    gc.collect()
    assert alive()[HttpConnection] <= 1, "but for the one that was told last"


@pytest.mark.usefixtures("collector_is_off")
@pytest.mark.parametrize("last", [b"", b"\x17\x03\x03\x00\x20" + bytes(32)], ids=["no close_notify", "no record"])
async def test_who_has_broken_tls_leaves_nothing(house: House, clock: MockClock, last: bytes) -> None:
    await house.start()
    before = alive()
    for _ in range(MANY):
        client = await house.client()
        await client.send(request("GET /"))
        assert (await client.response()).status == 200
        socket.socket.send(tls_of(client).sock, last)
        vanish(client)
    await trio.sleep(LASTS)
    for client in house.clients:
        await trio.aclose_forcefully(client.stream)
    house.clients.clear()
    del client
    assert alive()[TlsStream] - before[TlsStream] <= 1, "but for the one that was told last"


def alive() -> dict[type, int]:
    """How many there are of what belongs to a client."""
    every = gc.get_objects()
    kinds = (HttpConnection, Exchange, Upload, TlsStream)
    return {kind: sum(isinstance(each, kind) for each in every) for kind in kinds}
