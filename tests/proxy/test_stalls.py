"""Whoever stops at any byte, or goes on with one byte a second from there, is gone when its limit has passed."""

import pytest
import trio
from trio.testing import MockClock

from sozu_trio.config.limits import LINGER, PAUSE
from sozu_trio.testing import BackendConnection, Client, RunningProxy
from tests.proxy.limiting import passed, sessions
from tests.proxy.parts import OK, Net, request

HEAD = 4.0
IDLE = 7.0
LISTENER = f"min_body_rate = 1000\nrequest_timeout = {HEAD}\nfront_timeout = {IDLE}\nback_timeout = 100"
LATE = 1.5
"""Seconds: the grain of the wheel, and the next byte of who is slow, which finds out."""

CONVERSATION = (
    request("GET /"),
    request("POST /", "Content-Length: 8") + b"01234end",
    request("POST /", "Transfer-Encoding: chunked") + b"3;a=b\r\nend\r\n0\r\nA: b\r\n\r\n",
    request("GET /"),
)
ALL = b"".join(CONVERSATION)


async def serve(connection: BackendConnection) -> None:
    """Answers requests, those with a body when it has ended."""
    while True:
        head = await connection.read_head()
        if b"content-length" in head.lower():
            await connection.receive_exactly(8)
        elif b"chunked" in head.lower():
            await connection.receive_until(b"\r\n\r\n")
        await connection.send(OK)


async def until_closed(client: Client) -> bytes:
    try:
        return await client.receive_all()
    except trio.BrokenResourceError:
        return b""


async def stall(proxy: RunningProxy, at: int, *, trickles: bool, lives: dict[int, float]) -> None:
    """Send all up to `at`, and then nothing, or one byte a second; how long the connection lived after that."""
    client = await Client.open(proxy.addresses["http"])
    async with trio.open_nursery() as nursery:
        await client.send(ALL[:at])
        began = trio.current_time()
        if trickles:
            nursery.start_soon(trickle, client, at)
        await until_closed(client)
        lives[at] = trio.current_time() - began
        nursery.cancel_scope.cancel(reason="it is closed")
    await trio.aclose_forcefully(client.stream)


async def trickle(client: Client, at: int) -> None:
    for byte in ALL[at:]:
        await trio.sleep(1)
        try:
            await client.send(bytes([byte]))
        except trio.BrokenResourceError:
            return


def limit(at: int, *, trickles: bool) -> float:
    """Seconds that a connection may live after `at` bytes have come at once."""
    if not trickles:
        # In a head that has begun, or never did, or anywhere else: nothing comes.
        return max(HEAD, IDLE)
    # Of a body and the head behind it no more can be left than is cut in time, and both may be idle before.
    return IDLE + HEAD + PAUSE


@pytest.mark.parametrize("trickles", [False, True])
async def test_every_connection_ends_within_its_limit(net: Net, clock: MockClock, *, trickles: bool) -> None:
    proxy = await net.proxy(await net.backend(serve), listener=LISTENER)
    lives: dict[int, float] = {}
    for first in range(0, len(ALL) + 1, 50):
        async with trio.open_nursery() as nursery:
            for at in range(first, min(first + 50, len(ALL) + 1)):
                nursery.start_soon(lambda at: stall(proxy, at, trickles=trickles, lives=lives), at)
    assert sorted(lives) == list(range(len(ALL) + 1))
    late = {at: lived for at, lived in lives.items() if lived > limit(at, trickles=trickles) + LINGER + LATE}
    assert late == {}
    assert await sessions(proxy) == 0
    counts = await passed(proxy)
    assert sum(counts.values()) == len(lives)
    assert counts.keys() == {"idle", "head_time", *(["body_rate"] if trickles else ["body_time"])}
