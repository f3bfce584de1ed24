"""Limits of connections per client address: who is told no, how, and what goes along with a session that moves."""

import contextlib
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.nursery import places as places_module
from sozu_trio.testing import BackendConnection, Client
from sozu_trio.testing.plugin import StartBackend, StartProxy
from tests.proxy.moving import open_succession
from tests.proxy.parts import GET, Net, access_log, counters_of
from tests.proxy.secure import connect_raw, secure_text
from tests.proxy.tcp_sessions import Connect, Start, echo, line_of

pytestmark = pytest.mark.virtual_time

ANN = b"PROXY TCP4 192.0.2.1 192.0.2.9 1 2\r\n"
BOB = b"PROXY TCP4 192.0.2.2 192.0.2.9 1 2\r\n"


async def status(client: Client, path: str = "/") -> int:
    return (await client.get(path)).status


async def test_one_connection_too_many_is_answered_429_and_closed(net: Net) -> None:
    proxy = await net.proxy(await net.backend(), cluster="max_connections_per_ip = 2\nretry_after = 7")
    clients = [await net.client(proxy) for _ in range(3)]
    assert [await status(client) for client in clients[:2]] == [200, 200]
    refused = await clients[2].get()
    assert (refused.status, refused.fields[b"retry-after"], refused.fields[b"connection"]) == (429, b"7", b"close")
    assert await clients[2].receive_all() == b""
    assert [await status(client) for client in clients[:2]] == [200, 200]
    await clients[0].close()
    await wait_all_tasks_blocked()
    assert await status(await net.client(proxy)) == 200
    lines = await access_log(proxy, 6)
    assert sum("too many connections of the client's address in cluster api" in line for line in lines) == 1
    assert (await counters_of(proxy))["cluster.source_capped"] == 1


@pytest.mark.parametrize(
    ("top", "cluster", "wait"),
    [("retry_after = 9", "", b"9"), ("retry_after = 0", "", None), ("retry_after = 9", "retry_after = 0", None)],
)
async def test_retry_after_as_configured(net: Net, top: str, cluster: str, wait: bytes | None) -> None:
    proxy = await net.proxy(await net.backend(), top=f"max_connections_per_ip = 1\n{top}", cluster=cluster)
    assert await status(await net.client(proxy)) == 200
    refused = await (await net.client(proxy)).get()
    assert (refused.status, refused.fields.get(b"retry-after")) == (429, wait)


async def test_only_a_connection_that_was_routed_to_the_cluster_counts(net: Net) -> None:
    proxy = await net.proxy(await net.backend(), top="max_connections_per_ip = 1")
    idle = await net.client(proxy)
    assert (await idle.get(host="other.example")).status == 404
    assert await status(await net.client(proxy)) == 200
    assert await status(idle) == 429


async def test_a_connection_that_has_visited_many_clusters_ends(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sozu_trio.proxy.exchange.MOST_HELD", 1)
    assert places_module.MOST_HELD > 1
    proxy = await net.proxy(await net.backend(), top="max_connections_per_ip = 9")
    response = await (await net.client(proxy)).get()
    assert (response.status, response.fields[b"connection"]) == (200, b"close")


async def test_a_tcp_session_too_many_is_closed(serve: Start, start_backend: StartBackend, connect: Connect) -> None:
    proxy = await serve(await start_backend(echo), cluster="max_connections_per_ip = 1")
    first = await connect(proxy)
    await first.send(b"a")
    assert await first.receive_exactly(1) == b"a"
    assert await (await connect(proxy)).receive_all() == b""
    line = await line_of(proxy)
    assert line["message"] == "too many connections of the client's address in cluster db"
    assert "backend.connect.retries_exhausted" not in await counters_of(proxy)
    await first.send_eof()
    assert await first.receive_all() == b""
    await wait_all_tasks_blocked()
    again = await connect(proxy)
    await again.send(b"b")
    assert await again.receive_exactly(1) == b"b"


@pytest.mark.parametrize("limit", ["max_connections_per_ip", "max_connections_per_source"])
async def test_a_proxy_header_says_whose_connection_it_is(net: Net, limit: str) -> None:
    proxy = await net.proxy(await net.backend(), top=f"{limit} = 1", listener="expect_proxy = true")
    statuses = []
    for header in (ANN, ANN, BOB):
        client = await net.client(proxy)
        await client.send(header + GET)
        statuses.append((await client.response()).status)
    assert statuses == [200, 429, 200]


async def test_a_proxy_header_of_a_tcp_session(serve: Start, start_backend: StartBackend, connect: Connect) -> None:
    proxy = await serve(await start_backend(echo), listener="expect_proxy = true", top="max_connections_per_source = 1")
    answers: list[bytes] = []
    for header in (ANN, ANN, BOB):
        client = await connect(proxy)
        await client.send(header)
        await wait_all_tasks_blocked()
        if header is BOB or not answers:
            await client.send(b"x")
            answers.append(await client.receive_exactly(1))
        else:
            answers.append(await client.receive_all())
    assert answers == [b"x", b"", b"x"]


async def test_the_door_turns_away_what_one_address_has_too_many_of(net: Net) -> None:
    proxy = await net.proxy(await net.backend(), top="max_connections_per_source = 2\nretry_after = 3")
    inside = [await net.client(proxy) for _ in range(2)]
    refused = await net.client(proxy)
    response = await refused.response()
    assert (response.status, response.fields[b"retry-after"]) == (429, b"3")
    assert await refused.receive_all() == b""
    assert [await status(client) for client in inside] == [200, 200]
    await inside[0].close()
    await wait_all_tasks_blocked()
    assert await status(await net.client(proxy)) == 200
    assert (await counters_of(proxy))["listener.source_capped"] == 1
    assert "listener.connection_capped" not in await counters_of(proxy)


@pytest.mark.parametrize("header", [b"", ANN])
async def test_of_https_it_is_closed_before_the_handshake(
    header: bytes, start_proxy: StartProxy, start_backend: StartBackend, tmp_path: Path
) -> None:
    listener = "expect_proxy = true" if header else ""
    text = secure_text(tmp_path, top="max_connections_per_source = 1", listener=listener)
    proxy = await start_proxy(text, api=await start_backend())
    with connect_raw(proxy.addresses["https"]) as first, connect_raw(proxy.addresses["https"]) as second:
        for sock in (first, second):
            if header:
                sock.send(header + b"\x16\x03")
            await wait_all_tasks_blocked()
        # What it has sent already and nobody reads makes a reset of it.
        with pytest.raises(ConnectionResetError) if header else contextlib.nullcontext():
            assert second.recv(10) == b""
        with pytest.raises(BlockingIOError):
            first.recv(10)
    assert (await counters_of(proxy))["listener.source_capped"] == 1


async def test_places_move_along_to_the_next_worker(start_backend: StartBackend) -> None:
    top = "max_connections_per_ip = 2\nmax_connections_per_source = 5\n"
    async with open_succession(await start_backend(), top=top) as succession:
        idle, kept, tunnel = [await succession.client(name) for name in ("http", "http", "tcp")]
        await kept.send(GET)
        await kept.receive_until(b"ok")
        await wait_all_tasks_blocked()
        new, said = await succession.succeed()
        assert (said.moved, said.left) == (3, 0)
        await succession.workers[0].over.wait()
        assert len(succession.workers[0].tally) == 0
        assert [await status(idle), await status(kept)] == [200, 200]
        over = [await succession.client() for _ in range(3)]
        assert await status(over[0]) == 429, "two have been routed there"
        await over[0].receive_all()
        await tunnel.close()
        await wait_all_tasks_blocked()
        assert await status(over[1]) == 429
        assert new.proxy.counters.refused_sources == 1, "the sixth"
        assert (await over[2].response()).status == 429


async def test_a_session_that_is_cut_gives_its_place_back(net: Net) -> None:
    async def never(connection: BackendConnection) -> None:
        await trio.sleep_forever()

    proxy = await net.proxy(
        await net.backend(never), cluster="max_connections_per_ip = 1", top="back_timeout = 5\nfront_timeout = 5"
    )
    client = await net.client(proxy)
    await client.send(GET)
    await wait_all_tasks_blocked()
    await client.reset()
    await wait_all_tasks_blocked()
    assert await status(await net.client(proxy)) == 504
