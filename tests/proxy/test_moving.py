"""Keep-alive connections that move from a worker to its successor."""

import pytest
from trio.testing import wait_all_tasks_blocked

from sozu_trio.testing.plugin import StartBackend
from tests.proxy.moving import open_succession
from tests.proxy.parts import GET, values

pytestmark = pytest.mark.virtual_time


async def test_idle_connections_move_and_go_on(start_backend: StartBackend) -> None:
    backend = await start_backend()
    async with open_succession(backend) as succession:
        old = succession.workers[0]
        clients = [await succession.client() for _ in range(100)]
        for client in clients[:50]:
            await client.send(GET)
            assert (await client.receive_until(b"ok")).startswith(b"HTTP/1.1 200")
        await wait_all_tasks_blocked()
        names = await old.sessions()
        ages = [each["age"] for each in await old.ask_look("sessions")]
        new, said = await succession.succeed()
        assert (said.moved, said.left) == (100, 0)
        await old.over.wait()
        assert old.stopped is not None
        assert old.stopped.cut == 0
        assert sorted(await new.sessions()) == sorted(names)
        assert min(each["age"] for each in await new.ask_look("sessions")) >= min(ages)
        for client in clients:
            await client.send(GET)
            head = await client.receive_until(b"ok")
            assert not values(head, b"connection")
        assert (succession.total("sessions_total"), succession.total("requests")) == (100, 150)
        assert succession.total("sessions") == 100
