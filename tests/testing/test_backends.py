"""Scripted backends: they do what the script says, and tell what they saw."""

import pytest
import trio

from sozu_trio.testing import BackendConnection, Client, open_backend

pytestmark = pytest.mark.virtual_time

GET = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"


async def test_a_response_in_bytes_answers_every_request() -> None:
    async with open_backend(b"HTTP/1.1 204 No Content\r\n\r\n") as backend:
        assert str(backend) == str(backend.address)
        client = await Client.open(backend.address)
        await client.send(GET + GET)
        assert [(await client.response()).status for _ in range(2)] == [204, 204]
        assert (backend.heads, backend.connections, backend.open) == ([GET, GET], 1, 1)
        await client.close()
        await trio.testing.wait_all_tasks_blocked()
        assert (backend.connections, backend.open) == (1, 0)


async def test_a_script_is_given_each_connection_and_closes_it_with_its_end() -> None:
    async def once(connection: BackendConnection) -> None:
        assert await connection.read_head() == GET
        await connection.send(b"bye")

    async with open_backend(once) as backend:
        for _ in range(2):
            client = await Client.open(backend.address)
            await client.send(GET)
            assert await client.receive_all() == b"bye"
            await client.close()
    assert backend.connections == 2


@pytest.mark.parametrize("end", ["close", "reset"])
async def test_a_client_that_leaves_ends_the_script_quietly(end: str) -> None:
    async with open_backend() as backend:
        client = await Client.open(backend.address)
        await client.send(GET[:10])
        await getattr(client, end)()
        await trio.testing.wait_all_tasks_blocked()
        assert (backend.heads, backend.open) == ([], 0)


async def test_an_assertion_of_a_script_fails_the_test() -> None:
    async def wrong(_: BackendConnection) -> None:
        assert 1 > 2, "nonsense"

    with pytest.RaisesGroup(AssertionError, flatten_subgroups=True):
        async with open_backend(wrong) as backend:
            client = await Client.open(backend.address)
            try:
                await trio.sleep_forever()
            finally:
                await trio.aclose_forcefully(client.stream)


async def test_after_the_block_nobody_listens() -> None:
    async with open_backend() as backend:
        pass
    with pytest.raises(OSError, match="all attempts to connect"):
        await Client.open(backend.address)
