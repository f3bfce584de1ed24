"""What sessions share: the Table in force, and what outlives it."""

import pytest
import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster
from sozu_trio.config.program import Program
from sozu_trio.proxy.proxy import SWEEP_PERIOD, Proxy
from sozu_trio.routing.state import declare
from sozu_trio.routing.table import compile_table
from sozu_trio.testing import BackendConnection
from sozu_trio.testing.plugin import StartBackend, StartProxy

pytestmark = pytest.mark.virtual_time

CONFIG = """
[[listeners]]
protocol = "http"
address = "$http"
[clusters.api]
protocol = "http"
frontends = [{ address = "$http", hostname = "example.com" }]
backends = [{ address = "$api" }]
"""


async def test_before_the_first_table_there_is_an_empty_one() -> None:
    proxy = Proxy(Program(), 0)
    assert (proxy.table.generation, dict(proxy.table.listeners), proxy.backends.clusters) == (0, {}, {})


async def test_a_table_is_swapped_together_with_its_backends() -> None:
    proxy = Proxy(Program(), 0)
    backend = Backend(cluster_id="api", backend_id="b", address=Address("127.0.0.1", 1))
    table = compile_table(declare([], [Cluster(cluster_id="api", protocol="http")], [], [], [backend]), 4)
    proxy.swap(table)
    assert proxy.table is table
    assert list(proxy.backends.clusters) == ["api"]


async def test_access_log_lines_carry_the_workers_number_and_format() -> None:
    for form, mark in (("ascii", "WRK-07"), ("json", '"tag":"WRK-07"')):
        proxy = Proxy(Program(access_logs_format=form), 7)  # type: ignore[arg-type]
        assert mark in proxy.access_log.lost(1)


async def test_a_pooled_connection_whose_backend_leaves_is_closed_within_a_sweep(
    start_proxy: StartProxy, start_backend: StartBackend
) -> None:
    leave, ended = trio.Event(), list[bytes]()

    async def serve_once(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await leave.wait()
        await connection.send_eof()
        ended.append(await connection.receive_all())

    proxy = await start_proxy(CONFIG, api=await start_backend(serve_once))
    client = await proxy.connect()
    assert (await client.get()).status == 200
    await trio.sleep(SWEEP_PERIOD)
    assert ended == []
    leave.set()
    await trio.sleep(2 * SWEEP_PERIOD)
    assert ended == [b""]
    await client.close()


async def test_when_the_proxy_ends_no_pooled_connection_stays(
    start_proxy: StartProxy, start_backend: StartBackend
) -> None:
    backend = await start_backend()
    proxy = await start_proxy(CONFIG, api=backend)
    client = await proxy.connect()
    assert (await client.get()).status == 200
    await trio.sleep(5)
    assert backend.open == 1
    await proxy.supervisor.stop(None)
    await proxy.supervisor.stopped.wait()
    await trio.sleep(1)
    assert backend.open == 0
    await client.close()


async def test_what_nobody_uses_is_closed_on_request() -> None:
    proxy = Proxy(Program(), 0)
    pipe = proxy.pipes.borrow()
    assert pipe is not None
    assert proxy.close_unused() == 0
    proxy.pipes.give_back(pipe, empty=True)
    assert proxy.close_unused() == 2
