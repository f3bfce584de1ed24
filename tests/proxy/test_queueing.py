"""Limits of connections to backends: who waits, in which order, for how long, and that nothing is left behind."""

from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.testing import BackendConnection, Client
from sozu_trio.testing.plugin import StartBackend
from tests.proxy.parts import OK, Net, access_log, counters_of
from tests.proxy.tcp_sessions import Connect, Start, echo

pytestmark = pytest.mark.virtual_time


@dataclass
class Gated:
    """A backend that answers when it is told to."""

    asked: list[bytes] = field(default_factory=list)
    go: trio.Semaphore = field(default_factory=lambda: trio.Semaphore(0))
    most: int = 0
    """Requests it has had at once."""
    _now: int = 0

    async def serve(self, connection: BackendConnection) -> None:
        while head := await connection.read_head():
            self.asked.append(head.split(b" ")[1])
            self._now += 1
            self.most = max(self.most, self._now)
            await self.go.acquire()
            self._now -= 1
            await connection.send(OK)


@pytest.fixture
def gated() -> Gated:
    return Gated()


async def asks(net: Net, client: Client, path: str) -> Client:
    await client.send(f"GET {path} HTTP/1.1\r\nHost: example.com\r\n\r\n".encode())
    await wait_all_tasks_blocked()
    return client


@pytest.mark.parametrize("where", ["cluster", "backend"])
async def test_who_waits_is_served_in_order(net: Net, gated: Gated, where: str) -> None:
    limit = {"cluster": "max_connections = 1"} if where == "cluster" else {"backend": [", max_connections = 1"]}
    backend = await net.backend(gated.serve)
    proxy = await net.proxy(backend, **limit)
    clients = [await asks(net, await net.client(proxy), f"/{number}") for number in range(4)]
    assert gated.asked == [b"/0"]
    assert (await counters_of(proxy))["backend.queue.waiting"] == 3
    for number, client in enumerate(clients):
        gated.go.release()
        assert (await client.response()).status == 200
        await wait_all_tasks_blocked()
        assert gated.asked == [b"/%d" % each for each in range(min(4, number + 2))]
    assert (gated.most, backend.connections) == (1, 1)
    counted = await counters_of(proxy)
    assert counted["backend.queue.total"] == 3
    assert "backend.queue.waiting" not in counted
    assert "backend.queue.refused" not in counted


async def test_a_full_queue_is_told_at_once(net: Net, gated: Gated) -> None:
    proxy = await net.proxy(
        await net.backend(gated.serve), top="retry_after = 3", cluster="max_connections = 1\nmax_queue = 1"
    )
    first, second = [await asks(net, await net.client(proxy), "/") for _ in range(2)]
    begun = trio.current_time()
    refused = await (await net.client(proxy)).get()
    assert (refused.status, refused.fields[b"retry-after"]) == (503, b"3")
    assert trio.current_time() == begun
    for client in (first, second):
        gated.go.release()
        assert (await client.response()).status == 200
    assert (await counters_of(proxy))["backend.queue.refused"] == 1
    (line, *_) = await access_log(proxy, 3)
    assert "cluster api has all the connections it may have, and 1 wait already" in line


async def test_nobody_waits_for_longer_than_the_time_out(net: Net, gated: Gated) -> None:
    proxy = await net.proxy(await net.backend(gated.serve), cluster="max_connections = 1\nqueue_timeout = 2")
    first = await asks(net, await net.client(proxy), "/")
    begun = trio.current_time()
    assert (await (await net.client(proxy)).get()).status == 503
    assert trio.current_time() - begun == pytest.approx(2, abs=0.01)
    gated.go.release()
    assert (await first.response()).status == 200
    assert gated.asked == [b"/"]


async def test_without_a_time_out_it_waits_on(net: Net, gated: Gated) -> None:
    proxy = await net.proxy(await net.backend(gated.serve), cluster="max_connections = 1\nqueue_timeout = 0")
    clients = [await asks(net, await net.client(proxy), "/") for _ in range(2)]
    await trio.sleep(10)
    for client in clients:
        gated.go.release()
        assert (await client.response()).status == 200


async def test_a_client_that_goes_leaves_the_queue(net: Net, gated: Gated) -> None:
    proxy = await net.proxy(await net.backend(gated.serve), cluster="max_connections = 1")
    first, second, third = [await asks(net, await net.client(proxy), f"/{number}") for number in range(3)]
    await second.close()
    await wait_all_tasks_blocked()
    assert (await counters_of(proxy))["backend.queue.waiting"] == 1
    for client in (first, third):
        gated.go.release()
        assert (await client.response()).status == 200
    assert gated.asked == [b"/0", b"/2"]


async def test_the_limit_of_each_backend_is_its_own(net: Net) -> None:
    one, two = Gated(), Gated()
    proxy = await net.proxy(
        await net.backend(one.serve), await net.backend(two.serve), backend=[", max_connections = 1"] * 2
    )
    clients = [await asks(net, await net.client(proxy), f"/{number}") for number in range(4)]
    assert (len(one.asked), len(two.asked)) == (1, 1)
    two.go.release()
    await wait_all_tasks_blocked()
    assert (len(one.asked), len(two.asked)) == (1, 2)
    for gate in (one, two):
        for _ in clients:
            gate.go.release()
    assert {(await client.response()).status for client in clients} == {200}
    assert (one.most, two.most) == (1, 1)


async def test_an_idle_connection_of_another_backend_is_closed_where_it_is_in_the_way(net: Net) -> None:
    one, two = await net.backend(), await net.backend()
    proxy = await net.proxy(one, two, cluster="max_connections = 1")
    client = await net.client(proxy)
    for _ in range(4):
        assert (await client.get()).status == 200
        await wait_all_tasks_blocked()
        assert one.open + two.open == 1
    assert (len(one.heads), len(two.heads)) == (2, 2)


async def test_a_backup_is_none_for_those_that_are_full(net: Net, gated: Gated) -> None:
    backup = await net.backend()
    proxy = await net.proxy(
        await net.backend(gated.serve), backup, backend=[", max_connections = 1", ", backup = true"]
    )
    clients = [await asks(net, await net.client(proxy), "/") for _ in range(2)]
    assert backup.heads == []
    for client in clients:
        gated.go.release()
        assert (await client.response()).status == 200


async def test_tcp_sessions_wait_too(serve: Start, start_backend: StartBackend, connect: Connect) -> None:
    backend = await start_backend(echo)
    proxy = await serve(backend, cluster="max_connections = 1\nqueue_timeout = 2")
    first, second = await connect(proxy), await connect(proxy)
    await first.send(b"a")
    await second.send(b"b")
    assert await first.receive_exactly(1) == b"a"
    await wait_all_tasks_blocked()
    assert backend.open == 1
    await first.close()
    assert await second.receive_exactly(1) == b"b"
    begun = trio.current_time()
    assert await (await connect(proxy)).receive_all() == b""
    assert trio.current_time() - begun == pytest.approx(2, abs=0.01)
