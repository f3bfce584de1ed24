"""TLS to backends that changes while it is spoken, and workers that are replaced meanwhile."""

import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from sozu_trio.testing import RunningProxy
from tests.proxy.moving import open_succession
from tests.proxy.parts import GET, OK, Net
from tests.proxy.secure_backends import Authority, SecureConnection, Start, open_secure_backends
from tests.proxy.test_upgrade import ASK, SWITCH

pytestmark = pytest.mark.virtual_time


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    async with open_secure_backends() as begin:
        yield begin


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def say_of_tls(proxy: RunningProxy, **members: Any) -> None:
    """Have cluster `api` say something else of TLS; no members: that there is none."""
    state = proxy.supervisor.state
    before = state.clusters["api"]
    assert before.tls is not None
    tls = dataclasses.replace(before.tls, **members) if members else None
    clusters = {**state.clusters, "api": dataclasses.replace(before, tls=tls)}
    await proxy.supervisor.change(dataclasses.replace(state, clusters=clusters), proxy.supervisor.generation + 1)


async def test_what_was_agreed_on_otherwise_is_not_used_again(net: Net, authority: Authority, start: Start) -> None:
    api = await start(authority.server("127.0.0.1", "a.example"))
    proxy = await net.proxy(api, cluster=f'tls = {{ ca = "{authority.file}" }}')
    client = await net.client(proxy)
    for _ in range(2):
        assert (await client.get()).status == 200
    await say_of_tls(proxy, server_name="a.example")
    assert (await client.get()).status == 200
    assert (api.server_names, api.resumed) == ([None, "a.example"], [False, False])
    await say_of_tls(proxy, server_name="b.example")
    assert (await client.get()).status == 502
    await say_of_tls(proxy, server_name="a.example")
    assert (await client.get()).status == 503
    await trio.sleep(2)
    assert (await client.get()).status == 200


async def test_other_changes_let_it_be(net: Net, authority: Authority, start: Start) -> None:
    api = await start(authority.server())
    proxy = await net.proxy(api, cluster=f'tls = {{ ca = "{authority.file}" }}')
    client = await net.client(proxy)
    assert (await client.get()).status == 200
    state = proxy.supervisor.state
    clusters = {"api": dataclasses.replace(state.clusters["api"], idle_timeout=7)}
    await proxy.supervisor.change(dataclasses.replace(state, clusters=clusters), 2)
    assert (await client.get()).status == 200
    assert api.resumed == [False]


async def test_a_connection_in_use_serves_what_it_has_begun(net: Net, authority: Authority, start: Start) -> None:
    go, asked = trio.Event(), trio.Event()

    async def slow(connection: SecureConnection) -> None:
        while await connection.read_head():
            asked.set()
            await go.wait()
            await connection.send(OK)

    api = await start(authority.server(), slow)
    proxy = await net.proxy(api, cluster=f'tls = {{ ca = "{authority.file}" }}')
    client = await net.client(proxy)
    await client.send(GET)
    await asked.wait()
    await say_of_tls(proxy, versions=("TLS_V12",))
    go.set()
    assert (await client.response()).status == 200
    assert (await client.get()).status == 200
    assert len(api.resumed) == 2


async def test_idle_clients_move_and_tunnels_stay(authority: Authority, start: Start) -> None:
    async def serve(connection: SecureConnection) -> None:
        while head := await connection.read_head():
            if b"Upgrade: websocket" not in head:
                await connection.send(OK)
                continue
            await connection.send(SWITCH)
            while data := await connection.stream.receive_some():
                await connection.send(bytes(data))
            await connection.stream.aclose()
            return

    backend: Any = await start(authority.server(), serve)
    async with open_succession(backend, cluster="tls = { verify = false }") as succession:
        old = succession.workers[0]
        idle, tunnel = await succession.client(), await succession.client()
        await idle.send(GET)
        assert await idle.receive_until(b"ok")
        await tunnel.send(ASK)
        assert (await tunnel.receive_until(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        new, said = await succession.succeed()
        assert (said.moved, said.left) == (1, 1)
        await tunnel.send(b"still here")
        assert await tunnel.receive_exactly(10) == b"still here"
        await idle.send(GET)
        assert await idle.receive_until(b"ok")
        assert (len(await new.sessions()), len(await old.sessions())) == (1, 1)
        await tunnel.send_eof()
        await tunnel.receive_all()
        await old.over.wait()
