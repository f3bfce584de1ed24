"""Upgrade and 101: only for protocols on the list, only when asked for, and then an opaque tunnel both ways."""

import pytest
import trio
from trio.testing import MockClock

from sozu_trio.testing import BackendConnection, Client
from tests.proxy.parts import GET, OK, Net, access_log, at_end, is_reset, request, values

ASK = request("GET /chat", "Connection: keep-alive, Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13")
SWITCH = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Accept: x\r\n\r\n"
)


async def echo(connection: BackendConnection) -> None:
    """Switches, says what came with the request, and then echoes until the client shuts its side."""
    await connection.read_head()
    await connection.send(SWITCH + b"early")
    while data := await connection.stream.receive_some(65536):
        await connection.send(data)
    await connection.send(b"goodbye")


async def open_tunnel(net: Net, data: bytes = ASK, listener: str = "") -> Client:
    client = await net.client(await net.proxy(await net.backend(echo), listener=listener))
    await client.send(data)
    head = await client.receive_until(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert (values(head, b"upgrade"), values(head, b"connection")) == ([b"WebSocket"], [b"upgrade"])
    assert values(head, b"sec-websocket-accept") == [b"x"]
    assert await client.receive_exactly(5) == b"early"
    return client


async def test_tunnel_both_ways_with_half_close(net: Net, clock: MockClock) -> None:
    client = await open_tunnel(net)
    for _ in range(3):
        await client.send(b"ping")
        assert await client.receive_exactly(4) == b"ping"
        await trio.sleep(20)
    await client.send(b"last")
    await client.send_eof()
    assert await client.receive_all() == b"lastgoodbye"


async def test_bytes_that_came_with_the_request_go_first(net: Net) -> None:
    client = await open_tunnel(net, ASK + b"hello")
    await client.send(b", again")
    assert await client.receive_exactly(12) == b"hello, again"


async def test_backend_that_shuts_its_side_may_still_read(net: Net, clock: MockClock) -> None:
    heard: list[bytes] = []

    async def speak_and_listen(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(SWITCH + b"bye")
        await connection.send_eof()
        heard.append(await connection.receive_all())

    client = await net.client(await net.proxy(await net.backend(speak_and_listen)))
    await client.send(ASK)
    assert (await client.receive_all()).endswith(b"\r\n\r\nbye")
    await client.send(b"still ")
    await trio.sleep(5)
    await client.send(b"here")
    await client.send_eof()
    await trio.sleep(1)
    assert heard == [b"still here"]


async def test_request_as_the_backend_sees_it(net: Net) -> None:
    backend = await net.backend(OK)
    client = await net.client(await net.proxy(backend, listener='upgrade_protocols = ["websocket", "chat"]'))
    await client.send(
        request("GET /", "Connection: upgrade", "Upgrade: h2c, Chat/2,chat", "Upgrade: WebSocket", "HTTP2-Settings: x")
    )
    assert (await client.response()).status == 200
    assert values(backend.heads[0], b"upgrade") == [b"chat, WebSocket"]
    assert values(backend.heads[0], b"connection") == [b"upgrade"]
    assert values(backend.heads[0], b"http2-settings") == []


@pytest.mark.parametrize(
    "data",
    [
        request("GET /", "Connection: upgrade", "Upgrade: h2c"),
        request("GET /", "Connection: upgrade, http2-settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQAAP__"),
        request("GET /", "Connection: upgrade", "Upgrade: TLS/1.3"),
        request("GET /", "Upgrade: websocket"),
        request("GET /", "Connection: upgrade"),
        request("GET /", "Connection: upgrade, keep-alive", "Upgrade: websocket", version="1.0"),
        request("POST /", "Connection: upgrade", "Upgrade: websocket", "Content-Length: 1") + b"x",
    ],
)
async def test_not_asked_for_in_earnest(data: bytes, net: Net) -> None:
    """It is forwarded without; a backend that switches all the same is not believed."""
    heads: list[bytes] = []

    async def switch(connection: BackendConnection) -> None:
        heads.append(await connection.read_head())
        await connection.send(SWITCH)
        await at_end(connection)

    client = await net.client(await net.proxy(await net.backend(switch)))
    await client.send(data)
    assert (await client.response()).status == 502
    assert values(heads[0], b"upgrade") == values(heads[0], b"connection") == []


@pytest.mark.parametrize(
    "switch",
    [
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    ],
)
async def test_switch_to_something_else(switch: bytes, net: Net) -> None:
    client = await net.client(await net.proxy(await net.backend(switch)))
    await client.send(ASK)
    assert (await client.response()).status == 502


async def test_upgrade_refused_by_the_backend_is_a_normal_response(net: Net) -> None:
    backend = await net.backend(OK)
    client = await net.client(await net.proxy(backend))
    await client.send(ASK + GET)
    for _ in range(2):
        assert (await client.response()).body == b"ok"
    assert backend.connections == 1


async def test_tunnel_is_idle_only_when_nothing_moves_either_way(net: Net, clock: MockClock) -> None:
    async def speak(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(SWITCH)
        for _ in range(5):
            await trio.sleep(15)
            await connection.send(b"tick")
        await at_end(connection)

    backend = await net.backend(speak)
    proxy = await net.proxy(backend, listener="front_timeout = 5\nback_timeout = 20")
    client = await net.client(proxy)
    await client.send(ASK)
    assert (await client.receive_all()).endswith(b"tick" * 5)
    assert 95 <= trio.current_time() < 96
    await trio.sleep(1)
    assert backend.open == 0
    (line,) = await access_log(proxy, 1)
    assert " WS example.com GET /chat 101 | upgraded; idle for too long" in line


async def test_tunnel_without_a_limit(net: Net, clock: MockClock) -> None:
    client = await open_tunnel(net, listener="front_timeout = 0\nback_timeout = 20")
    await trio.sleep(500)
    await client.send(b"x")
    assert await client.receive_exactly(1) == b"x"


async def test_reset_goes_through(net: Net, clock: MockClock) -> None:
    broken = trio.Event()

    async def listen(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(SWITCH)
        try:
            await connection.receive_all()
        except trio.BrokenResourceError:
            broken.set()

    proxy = await net.proxy(await net.backend(listen))
    client = await net.client(proxy)
    await client.send(ASK)
    await client.receive_until(b"\r\n\r\n")
    await client.reset()
    await broken.wait()
    assert "upgraded; the client broke the connection" in (await access_log(proxy, 1))[0]


async def test_reset_by_the_backend_goes_through(net: Net, clock: MockClock) -> None:
    async def reset(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(SWITCH)
        await trio.sleep(1)
        await connection.reset()

    client = await net.client(await net.proxy(await net.backend(reset)))
    await client.send(ASK)
    await client.receive_until(b"\r\n\r\n")
    assert await is_reset(client)


async def test_drain_leaves_a_tunnel_its_grace(net: Net, clock: MockClock) -> None:
    proxy = await net.proxy(await net.backend(echo))
    client = await net.client(proxy)
    await client.send(ASK)
    await client.receive_until(b"early")
    await proxy.supervisor.stop(10)
    (drains,) = (await proxy.supervisor.look("drains")).values()
    assert list(drains.values()) == [{"sessions": 1, "websocket": 1, "tcp": 0, "cut": 0}]
    await trio.sleep(9)
    await client.send(b"x")
    assert await client.receive_exactly(1) == b"x"
    assert await is_reset(client)
    assert 10 <= trio.current_time() < 11
