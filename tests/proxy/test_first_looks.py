"""A first look at what has come, where sessions are many: at the very bytes, and only for who still wants it."""

from collections.abc import Callable

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.limits import HeadLimits
from sozu_trio.proxy.stream import Stream
from sozu_trio.wire.request import RequestParser
from sozu_trio.wire.response import ResponseParser
from tests.proxy.limiting import change_listener
from tests.proxy.parts import OK, Net, Pair, request
from tests.proxy.tls_parts import connected, server_contexts

pytestmark = pytest.mark.virtual_time


@pytest.fixture(autouse=True)
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if there were."""
    monkeypatch.setattr("sozu_trio.nursery.volley.VOLLEY_FROM", 0)


@pytest.fixture
def foreseen(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """What parsers have foreseen of whole proxies."""
    seen: list[bytes] = []

    def watched(foresee: Callable[..., None]) -> Callable[..., None]:
        def look(parser: object, buffer: bytes) -> None:
            seen.append(buffer)
            foresee(parser, buffer)

        return look

    for parser in (RequestParser, ResponseParser):
        monkeypatch.setattr(parser, "foresee", watched(parser.foresee))
    return seen


async def seen_by(stream: Stream, send: Callable[[], object]) -> tuple[list[bytes], bytes]:
    """What was seen and what was received of what `send` sends while it is waited for."""
    seen: list[bytes] = []
    came: list[bytes] = []

    async def receive() -> None:
        came.append(await stream.receive_later(100, foresee=seen.append))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        await wait_all_tasks_blocked()
        send()
    return seen, came[0]


async def test_what_is_received_was_seen(pair: Pair) -> None:
    peer, stream = pair
    seen, came = await seen_by(stream, lambda: peer.send(b"hello"))
    assert came == b"hello"
    assert seen[0] is came


async def test_what_is_received_within_tls_was_seen() -> None:
    async with connected(server_contexts()) as (client, server):
        await client.send(b"hello")
        assert await server.receive(100) == b"hello"
        seen, came = await seen_by(server, lambda: client.send_now(memoryview(b"again")))
    assert came == b"again"
    assert seen[0] is came


async def test_requests_and_responses_are_foreseen(net: Net, foreseen: list[bytes]) -> None:
    client = await net.client(await net.proxy(await net.backend(OK)))
    for _ in range(2):
        await client.send(request())
        assert (await client.response()).status == 200
    assert sum(each.startswith(b"GET") for each in foreseen) == 2
    assert sum(each.startswith(b"HTTP") for each in foreseen) == 2


async def test_what_is_no_head_is_refused_by_who_reads_it(net: Net, foreseen: list[bytes]) -> None:
    client = await net.client(await net.proxy(await net.backend(b"nonsense\r\n\r\n")))
    await client.send(request())
    assert (await client.response()).status == 502
    await client.send(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\n")
    assert (await client.response()).status == 400
    assert len(foreseen) == 3


async def test_limits_that_hold_by_then_are_those_that_count(net: Net, foreseen: list[bytes]) -> None:
    proxy = await net.proxy(await net.backend(OK))
    client = await net.client(proxy)
    await client.send(request("GET /" + "x" * 100))
    assert (await client.response()).status == 200
    await change_listener(proxy, limits=HeadLimits(request_line=50))
    await client.send(request("GET /" + "x" * 100))
    assert (await client.response()).status == 414
    assert sum(each.startswith(b"GET") for each in foreseen) == 2
