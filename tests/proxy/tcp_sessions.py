"""Proxies with one tcp listener, and backends of theirs."""

import json
from collections.abc import Awaitable, Callable

import trio

from sozu_trio.testing import BackendConnection, Client, RunningProxy
from tests.proxy.parts import access_log

CONFIG = """
access_logs_format = "json"
{top}
[[listeners]]
protocol = "tcp"
address = "$tcp"
front_timeout = {front}
back_timeout = {back}
{listener}
[clusters.db]
protocol = "tcp"
{cluster}
frontends = [{{ address = "$tcp", tags = {{ team = "storage" }} }}]
backends = [{backends}]
"""

Start = Callable[..., Awaitable[RunningProxy]]


Connect = Callable[[RunningProxy], Awaitable[Client]]


async def echo(connection: BackendConnection) -> None:
    while data := await connection.stream.receive_some():
        await connection.send(data)


async def stay(_: BackendConnection) -> None:
    await trio.sleep_forever()


async def line_of(proxy: RunningProxy) -> dict[str, object]:
    (line,) = await access_log(proxy, 1)
    record: dict[str, object] = json.loads(line)
    return record
