"""Clients: bytes as they come, and responses read whole."""

import h11
import pytest
import trio

from sozu_trio.testing import BackendConnection, Client, Response, open_backend

pytestmark = pytest.mark.virtual_time


async def read(answer: bytes, method: str = "GET", count: int = 1) -> list[Response]:
    """`count` responses out of `answer`, after which the server closes."""

    async def say(connection: BackendConnection) -> None:
        await connection.send(answer)

    async with open_backend(say) as backend:
        client = await Client.open(backend.address)
        try:
            return [await client.response(method) for _ in range(count)]
        finally:
            await client.close()


async def test_a_response_with_all_there_can_be() -> None:
    (response,) = await read(
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nX-A: 1\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 2\r\n\r\n"
    )
    assert (response.status, response.body, response.interim) == (200, b"abcde", [103])
    assert response.fields[b"x-a"] == b"1"
    assert response.trailers == [(b"x-t", b"2")]


async def test_responses_that_came_in_one_packet_are_read_one_by_one() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"
    assert [response.body for response in await read(answer + b"a" + answer + b"b", count=2)] == [b"a", b"b"]


async def test_no_body_after_head_and_one_until_the_end_of_the_connection() -> None:
    (head,) = await read(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD")
    assert (head.body, head.fields[b"content-length"]) == (b"", b"5")
    (closed,) = await read(b"HTTP/1.0 200 OK\r\n\r\nuntil the end")
    assert closed.body == b"until the end"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\ncut",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)
async def test_what_is_no_response_or_cut_short_is_an_error(answer: bytes) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc((h11.RemoteProtocolError, EOFError)), flatten_subgroups=True):
        await read(answer)


async def test_a_get_is_written_as_one_would_by_hand() -> None:
    async with open_backend() as backend:
        client = await Client.open(backend.address)
        await client.get("/p", host="h.example", X_Mine="1", accept="*/*")
        await client.close()
    assert backend.heads == [b"GET /p HTTP/1.1\r\nHost: h.example\r\nX-Mine: 1\r\naccept: */*\r\n\r\n"]


async def test_bytes_are_given_as_asked_for_and_none_is_lost() -> None:
    async def say(connection: BackendConnection) -> None:
        await connection.send(b"one\r\ntwo three")
        assert await connection.receive_all() == b"thanks"
        await connection.send(b" four")

    async with open_backend(say) as backend:
        client = await Client.open(backend.address)
        assert await client.receive_until(b"\r\n") == b"one\r\n"
        assert await client.receive_exactly(4) == b"two "
        await client.send(b"thanks")
        await client.send_eof()
        assert await client.receive_all() == b"three four"
        await client.close()


async def test_an_end_that_comes_too_soon_says_what_had_come() -> None:
    async def say(connection: BackendConnection) -> None:
        await connection.send(b"half")

    async with open_backend(say) as backend:
        for ask in ("until", "exactly"):
            client = await Client.open(backend.address)
            with pytest.raises(EOFError, match="half"):
                await (client.receive_until(b"\n") if ask == "until" else client.receive_exactly(10))
            await client.close()


async def test_a_reset_is_one_and_an_address_is_the_clients_own() -> None:
    seen: list[tuple[str, int]] = []

    async def watch(connection: BackendConnection) -> None:
        seen.append(connection.stream.socket.getpeername())
        with pytest.raises(trio.BrokenResourceError):
            await connection.receive_all()
        seen.append(("reset", 0))

    async with open_backend(watch) as backend:
        client = await Client.open(backend.address)
        address = client.address
        await trio.testing.wait_all_tasks_blocked()
        await client.reset()
        await trio.testing.wait_all_tasks_blocked()
    assert seen == [(address.host, address.port), ("reset", 0)]
