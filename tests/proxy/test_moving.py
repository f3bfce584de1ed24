"""Keep-alive connections that move from a worker to its successor."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.testing import BackendConnection
from sozu_trio.testing.plugin import StartBackend
from tests.proxy.moving import open_succession
from tests.proxy.parts import GET, OK, values

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("leaving")]


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


async def test_a_request_that_runs_is_answered_first(start_backend: StartBackend) -> None:
    go = trio.Event()

    async def slow(connection: BackendConnection) -> None:
        while await connection.read_head():
            await go.wait()
            await connection.send(OK)

    async with open_succession(await start_backend(slow)) as succession:
        client = await succession.client()
        await client.send(GET)
        await wait_all_tasks_blocked()
        new, said = await succession.succeed()
        assert (said.moved, said.left) == (0, 1)
        assert await new.sessions() == []
        go.set()
        assert not values(await client.receive_until(b"ok"), b"connection")
        await succession.workers[0].over.wait()
        assert len(await new.sessions()) == 1
        await client.send(GET)
        assert await client.receive_until(b"ok")
        assert (succession.total("requests"), succession.total("sessions_total")) == (2, 1)


async def test_requests_that_wait_in_its_buffer_move_along(start_backend: StartBackend) -> None:
    go = trio.Event()

    async def slow(connection: BackendConnection) -> None:
        while await connection.read_head():
            await go.wait()
            await connection.send(OK)

    async with open_succession(await start_backend(slow)) as succession:
        client = await succession.client()
        await client.send(GET * 3 + GET[:10])
        await wait_all_tasks_blocked()
        new, _ = await succession.succeed()
        go.set()
        for _ in range(3):
            assert (await client.receive_until(b"ok")).startswith(b"HTTP/1.1 200")
        await client.send(GET[10:])
        assert (await client.receive_until(b"ok")).startswith(b"HTTP/1.1 200")
        await wait_all_tasks_blocked()
        assert [worker.proxy.counters.requests for worker in succession.workers] == [1, 3]
        assert succession.total("bytes_in") == 4 * len(GET)
        assert await new.stop() == 0
    assert len(succession.lines) == 4


async def test_who_the_client_is_moves_along(start_backend: StartBackend) -> None:
    backend = await start_backend()
    async with open_succession(backend, http_listener="expect_proxy = true") as succession:
        silent, known = await succession.client(), await succession.client()
        await known.send(b"PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n")
        await wait_all_tasks_blocked()
        _, said = await succession.succeed()
        assert (said.moved, said.left) == (2, 0)
        await silent.send(b"PROXY TCP4 192.0.2.3 192.0.2.2 3000 80\r\n")
        for client in (known, silent):
            await client.send(GET)
            await client.receive_until(b"ok")
        assert [values(head, b"x-forwarded-for") for head in backend.heads] == [[b"192.0.2.1"], [b"192.0.2.3"]]


async def test_idle_time_that_was_spent_stays_spent(start_backend: StartBackend) -> None:
    async with open_succession(await start_backend()) as succession:
        used, unused = await succession.client(), await succession.client()
        begun = trio.current_time()
        await used.send(GET)
        await used.receive_until(b"ok")
        await trio.sleep(5)
        await succession.succeed()
        await unused.receive_all()
        assert trio.current_time() - begun == pytest.approx(10, abs=0.5)
        await trio.sleep(20)
        await succession.succeed()
        await used.receive_all()
        assert trio.current_time() - begun == pytest.approx(60, abs=0.5)


async def test_who_was_let_in_once_is_let_in_again(start_backend: StartBackend) -> None:
    async with open_succession(await start_backend()) as succession:
        client = await succession.client()
        await wait_all_tasks_blocked()
        new = await succession.start()
        capacity = new.handler.doors.capacity
        capacity.limit = 0
        assert (await succession.move(succession.workers[0], new)).moved == 1
        assert capacity.taken == 1
        await client.send(GET)
        assert (await client.receive_until(b"ok")).startswith(b"HTTP/1.1 200")
        assert not capacity.take()


async def test_of_a_listener_that_drains_nobody_moves(start_backend: StartBackend) -> None:
    go = trio.Event()

    async def slow(connection: BackendConnection) -> None:
        await connection.read_head()
        await go.wait()
        await connection.send(OK)

    async with open_succession(await start_backend(slow)) as succession:
        old = succession.workers[0]
        client = await succession.client()
        await client.send(GET)
        await wait_all_tasks_blocked()
        await succession.unlisten(old, "http")
        _, said = await succession.succeed()
        assert (said.moved, said.left) == (0, 1)
        go.set()
        assert values(await client.receive_until(b"ok"), b"connection") == [b"close"]
        await old.over.wait()


async def test_where_the_successor_has_no_such_listener_sessions_drain(start_backend: StartBackend) -> None:
    async with open_succession(await start_backend()) as succession:
        old = succession.workers[0]
        client = await succession.client()
        await client.send(GET)
        await client.receive_until(b"ok")
        new = await succession.start()
        await succession.unlisten(new, "http")
        said = await succession.move(old, new)
        assert said.moved == 0
        assert await client.receive_all() == b""
        await old.over.wait()
        assert old.stopped is not None
        assert old.stopped.cut == 0


async def test_what_is_known_of_backends_moves_first(start_backend: StartBackend) -> None:
    async with open_succession(await start_backend()) as succession:
        cluster = succession.workers[0].proxy.backends.find("web")
        assert cluster is not None
        (state,) = cluster
        state.back_off.failures, state.back_off.until = 7, trio.current_time() + 20
        new, _ = await succession.succeed()
        (known,) = new.proxy.describe_backends("web")
        assert (known["failures"], known["retry_in"]) == (7, pytest.approx(20, abs=0.1))
        assert new.proxy.describe_backends("raw")[0]["failures"] == 0
