"""Clients of every kind at work together, until they are told to stop."""

from functools import partial

import pytest
import trio

from benchmarks.upgrade_drill.crowd import Crowd, at_work
from benchmarks.upgrade_drill.echo import echo_bytes, echo_messages
from benchmarks.upgrade_drill.keep_alive import Asked
from benchmarks.upgrade_drill.tally import Tally
from tests.benchmarks.upgrade_drill.serving import serving

pytestmark = pytest.mark.virtual_time


async def answer(stream: trio.SocketStream, connections: list[str], name: str) -> None:
    connections.append(name)
    async for _ in stream:
        await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


async def test_every_kind() -> None:
    tally, connections = Tally(), list[str]()
    one, two = (partial(answer, connections=connections, name=name) for name in ("one", "two"))
    async with (
        serving(one) as first,
        serving(two) as second,
        serving(echo_messages) as echo,
        serving(echo_bytes) as tcp,
    ):
        crowd = Crowd(
            pages=tuple(Asked(host="127.0.0.1", port=port, authority="drill.example") for port in (first, second)),
            keep_alive=6,
            new_every=0.25,
            echo=Asked(host="127.0.0.1", port=echo, authority="drill.example"),
            websockets=3,
            stream=("127.0.0.1", tcp),
            streams=2,
        )
        async with at_work(crowd, tally):
            await trio.sleep(2)
        assert tally.sessions == crowd.sessions == 5
    assert (tally.failures, tally.closed, tally.cut, tally.lost, tally.missing) == (0, 0, 0, 0, 0)
    assert tally.connections >= 7
    assert tally.requests >= 6 * 3 + tally.connections
    assert tally.messages > 3 * 50
    assert tally.streamed > 0
    assert connections.count("one") == pytest.approx(connections.count("two"), abs=2)


async def test_pages_only() -> None:
    async with serving(partial(answer, connections=[], name="")) as port:
        tally = Tally()
        crowd = Crowd(pages=(Asked(host="127.0.0.1", port=port, authority="drill.example"),), new_every=0)
        async with at_work(crowd, tally):
            await trio.sleep(2)
    assert (crowd.sessions, tally.sessions, tally.messages, tally.streamed, tally.connections) == (0, 0, 0, 0, 0)
    assert tally.requests >= 64 * 3
