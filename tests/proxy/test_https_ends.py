"""How the connection of a client of an https listener ends: a drain, a close_notify, a cut, a half-close."""

import socket

import pytest
import trio

from sozu_trio.config.limits import UNSENT
from sozu_trio.proxy.close_notify import make_close_notify
from sozu_trio.testing import BackendConnection
from tests.proxy.https_house import House
from tests.proxy.parts import GET, access_log, request
from tests.proxy.secure import connect_raw, tls_of, vanish
from tests.proxy.test_upgrade import ASK, echo

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("leaving")]
BIG = bytes(range(256)) * 8192
"""2 MiB"""


@pytest.mark.parametrize("begin", [b"", b"\x16\x03\x01"], ids=["silent", "in mid-handshake"])
async def test_a_drain_does_not_wait_for_who_never_finishes(house: House, begin: bytes) -> None:
    await house.start(listener="request_timeout = 10")
    with connect_raw(house.address) as sock:
        sock.send(begin)
        await trio.sleep(2)
        before = trio.current_time()
        await house.proxy.supervisor.stop(60)
        await house.proxy.supervisor.stopped.wait()
        assert trio.current_time() - before <= (8.2 if begin else 1)
        assert sock.recv(1) == b""


async def test_a_drain_ends_idle_ones_with_a_close_notify(house: House) -> None:
    await house.start()
    client = await house.client()
    await client.get()
    await trio.sleep(5)
    before = trio.current_time()
    await house.proxy.supervisor.stop(60)
    assert await client.receive_all() == b""  # Without one it would be an error.
    assert trio.current_time() - before < 1


async def test_a_close_notify_that_nobody_reads_costs_nothing_of_the_response(house: House) -> None:
    body = BIG[:UNSENT]  # the kernels take it at once
    await house.start(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    client = await house.client()
    await client.send(request("GET /", "Connection: close"))
    tls = tls_of(client)._tls
    socket.socket.send(tls, make_close_notify(tls))
    await trio.sleep(60)
    assert (await client.receive_all()).endswith(body)
    assert not house.sessions


async def test_who_is_told_of_the_end_and_just_goes_leaves_no_line(house: House) -> None:
    await house.start()
    client = await house.client()
    await client.send(request("GET /", "Connection: close"))
    assert (await client.receive_all()).endswith(b"ok")
    vanish(client)
    await trio.sleep(60)
    assert not house.sessions


async def test_the_end_asked_for_is_a_close_notify(house: House) -> None:
    await house.start()
    client = await house.client()
    assert (await client.get(Connection="close")).fields[b"connection"] == b"close"
    assert await client.receive_all() == b""


@pytest.mark.parametrize("fields", [("Content-Length: 100000",), ("Transfer-Encoding: chunked",)])
async def test_a_body_that_ends_without_close_notify_is_not_whole(house: House, fields: tuple[str, ...]) -> None:
    ends: list[bytes] = []

    async def script(connection: BackendConnection) -> None:
        await connection.read_head()
        try:
            ends.append(await connection.receive_all())
        except trio.BrokenResourceError:
            ends.append(b"reset")
            raise

    await house.start(script)
    client = await house.client()
    await client.send(request("POST /", *fields) + b"3e8\r\n" + bytes(1000))
    await trio.sleep(1)
    vanish(client)
    await trio.sleep(1)
    assert len(ends) == 1
    assert not ends[0].endswith(b"0\r\n\r\n")
    assert len(ends[0]) < 100_000
    (line,) = await access_log(house.proxy, 1)
    assert " ERROR-ACCESS " in line


@pytest.mark.parametrize("chunked", [False, True])
async def test_long_bodies_both_ways(house: House, chunked: bool) -> None:
    async def script(connection: BackendConnection) -> None:
        head = await connection.read_head()
        assert (b"chunked" in head) == chunked
        if chunked:
            body = (await connection.receive_until(b"\r\n0\r\n\r\n")).replace(b"\r\n0\r\n\r\n", b"")
            assert len(body) >= len(BIG)
            await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(BIG))
            await connection.send(BIG + b"\r\n0\r\n\r\n")
        else:
            assert await connection.receive_exactly(len(BIG)) == BIG
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(BIG) + BIG)

    await house.start(script)
    client = await house.client()
    if chunked:
        await client.send(
            request("PUT /", "Transfer-Encoding: chunked") + b"%x\r\n" % len(BIG) + BIG + b"\r\n0\r\n\r\n"
        )
    else:
        await client.send(request("PUT /", f"Content-Length: {len(BIG)}") + BIG)
    assert (await client.response("PUT")).body == BIG


async def test_a_response_cut_short_is_not_ended_by_a_close_notify(house: House) -> None:
    async def script(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + bytes(1000))

    await house.start(script)
    client = await house.client()
    await client.send(GET)
    with pytest.raises(trio.BrokenResourceError):
        await client.receive_all()


async def test_a_tunnel_with_half_close_both_ways(house: House) -> None:
    await house.start(echo)
    client = await house.client()
    await client.send(ASK)
    assert (await client.receive_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
    assert await client.receive_exactly(5) == b"early"
    for _ in range(3):
        await client.send(b"ping")
        assert await client.receive_exactly(4) == b"ping"
        await trio.sleep(20)
    await client.send(b"last")
    await client.send_eof()
    assert await client.receive_all() == b"lastgoodbye"


async def test_a_tunnel_whose_client_vanishes_is_broken_for_the_backend(house: House) -> None:
    ends: list[bool] = []

    async def script(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        try:
            await connection.receive_all()
            ends.append(True)
        except trio.BrokenResourceError:
            ends.append(False)

    await house.start(script)
    client = await house.client()
    await client.send(ASK)
    await client.receive_until(b"\r\n\r\n")
    vanish(client)
    await trio.sleep(1)
    assert ends == [False]
    (line,) = await access_log(house.proxy, 1)
    assert "the client broke the connection" in line
    assert " WSS " in line
