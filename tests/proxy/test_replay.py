"""A request whose backend connection ended before a response: sent again where that can do no harm, else 502."""

import pytest
from trio.testing import MockClock

from sozu_trio.config.limits import HELD_BODY
from sozu_trio.proxy.stream import Stream
from sozu_trio.testing import BackendConnection
from tests.proxy.parts import OK, Net, at_end, request

pytestmark = pytest.mark.usefixtures("leaving")


async def test_body_with_the_head_is_held_for_another_try(net: Net) -> None:
    seen: list[bytes] = []

    async def drop_the_first(connection: BackendConnection) -> None:
        await connection.read_head()
        seen.append(await connection.receive_exactly(HELD_BODY - 1000))
        if len(seen) > 1:
            await connection.send(OK)
            await at_end(connection)

    backend = await net.backend(drop_the_first)
    client = await net.client(await net.proxy(backend))
    body = b"x" * (HELD_BODY - 1000)
    await client.send(request("PUT /", f"Content-Length: {len(body)}") + body)
    assert (await client.response()).status == 200
    assert seen == [body, body]


async def serve_once_per_connection(connection: BackendConnection) -> None:
    """Answers the first request of a connection and goes at the second."""
    await connection.read_head()
    await connection.send(OK)
    await connection.read_head()


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 200), ("HEAD", 200), ("DELETE", 200), ("POST", 502), ("PATCH", 502)]
)
async def test_reused_connection_dies_with_the_request(method: str, status: int, net: Net, clock: MockClock) -> None:
    backend = await net.backend(serve_once_per_connection)
    client = await net.client(await net.proxy(backend))
    assert (await client.get()).status == 200
    await client.send(request(f"{method} /"))
    assert (await client.response(method)).status == status
    assert backend.connections == (2 if status == 200 else 1)


async def test_reused_connection_dies_before_anything_is_written(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    async def serve_and_reset(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(OK)
        if backend.connections == 1:
            await connection.reset()
        else:
            await at_end(connection)

    backend = await net.backend(serve_and_reset)
    client = await net.client(await net.proxy(backend))
    assert (await client.get()).status == 200
    # The reset comes between the look at the connection and the first write.
    monkeypatch.setattr(Stream, "is_quiet", lambda stream: True)
    await client.send(request("POST /", "Content-Length: 2") + b"ab")
    assert (await client.response()).status == 200
    assert backend.connections == 2


async def test_connection_closed_while_it_was_idle_is_not_tried(net: Net) -> None:
    async def serve_one(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(OK)

    backend = await net.backend(serve_one)
    client = await net.client(await net.proxy(backend))
    for n in range(1, 4):
        await client.send(request("POST /"))
        assert (await client.response()).status == 200
        assert backend.connections == n


async def test_three_new_connections_and_no_more(net: Net) -> None:
    async def hang_up(connection: BackendConnection) -> None:
        await connection.read_head()

    backend = await net.backend(hang_up)
    client = await net.client(await net.proxy(backend))
    response = await client.get()
    assert (response.status, backend.connections) == (502, 3)
    await client.send(request("POST /"))
    assert ((await client.response()).status, backend.connections) == (502, 4)


async def test_another_try_prefers_another_backend(net: Net) -> None:
    async def hang_up(connection: BackendConnection) -> None:
        await connection.read_head()

    first, second = await net.backend(hang_up), await net.backend()
    client = await net.client(await net.proxy(first, second))
    for _ in range(4):
        assert (await client.get()).status == 200
    assert len(second.heads) == 4


async def test_body_that_is_not_in_hand_is_not_sent_again(net: Net) -> None:
    async def hang_up(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.receive_exactly(1)

    backend = await net.backend(hang_up)
    client = await net.client(await net.proxy(backend))
    await client.send(request("PUT /", "Content-Length: 3") + b"a")
    response = await client.response()
    assert (response.status, response.fields[b"connection"], backend.connections) == (502, b"close", 1)
