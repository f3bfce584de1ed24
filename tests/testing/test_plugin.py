"""The fixtures: as many proxies and backends as wanted, each ended with the test, proxies before backends."""

import pytest
import trio

from sozu_trio.errors import ConfigError
from sozu_trio.testing import BackendConnection
from sozu_trio.testing.plugin import StartBackend, StartProxy

pytestmark = pytest.mark.virtual_time

CONFIG = """
[[listeners]]
protocol = "tcp"
address = "$tcp"
[clusters.c]
protocol = "tcp"
frontends = [{ address = "$tcp" }]
backends = [{ address = "$behind" }]
"""


async def hello(connection: BackendConnection) -> None:
    await connection.send(b"hello")


async def test_a_proxy_before_a_proxy(start_proxy: StartProxy, start_backend: StartBackend) -> None:
    inner = await start_proxy(CONFIG, behind=await start_backend(hello))
    outer = await start_proxy(CONFIG, behind=inner.addresses["tcp"])
    client = await outer.connect("tcp")
    assert await client.receive_all() == b"hello"
    await client.close()


async def test_a_proxy_that_cannot_start_is_told_and_another_one_may(
    start_proxy: StartProxy, start_backend: StartBackend
) -> None:
    with pytest.raises(ConfigError):
        await start_proxy("nonsense = true")
    proxy = await start_proxy(CONFIG, behind=await start_backend(hello))
    client = await proxy.connect("tcp")
    assert await client.receive_all() == b"hello"
    await client.close()


async def test_one_that_was_stopped_by_the_test_is_fine(start_proxy: StartProxy, start_backend: StartBackend) -> None:
    proxy = await start_proxy(CONFIG, behind=await start_backend(hello))
    await proxy.supervisor.stop(0)
    await proxy.supervisor.stopped.wait()


async def test_sessions_left_open_are_cut_when_the_test_is_over(
    start_proxy: StartProxy, start_backend: StartBackend
) -> None:
    async def stay(_: BackendConnection) -> None:
        await trio.sleep_forever()

    proxy = await start_proxy(CONFIG, behind=await start_backend(stay))
    client = await proxy.connect("tcp")
    await client.send(b"x")
    await client.close()
