"""One request: where it goes, what is answered in its backend's place, and who is told when somebody leaves."""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from sozu_trio.nursery.readiness import Readable
from sozu_trio.testing import BackendConnection, Client, RunningProxy
from tests.proxy.parts import GET, OK, Net, access_log, at_end, open_alone, request, values

pytestmark = pytest.mark.usefixtures("leaving")


async def never(connection: BackendConnection) -> None:
    """Takes a request and says nothing."""
    await at_end(connection)


async def deny(proxy: RunningProxy) -> None:
    state = proxy.supervisor.state
    frontends = {key: replace(frontend, cluster_id=None) for key, frontend in state.http_frontends.items()}
    await proxy.supervisor.change(replace(state, http_frontends=frontends), 2)


async def test_unknown_host_is_not_found(net: Net) -> None:
    backend = await net.backend()
    client = await net.client(await net.proxy(backend))
    assert (await client.get(host="example.org")).status == 404
    assert (await client.get(host="EXAMPLE.com.:8080")).status == 200, "and the connection goes on"
    assert len(backend.heads) == 1


async def test_frontend_without_cluster_denies(net: Net) -> None:
    backend = await net.backend()
    proxy = await net.proxy(backend)
    client = await net.client(proxy)
    assert (await client.get()).status == 200
    await deny(proxy)
    assert (await client.get()).status == 401
    assert len(backend.heads) == 1


async def test_answer_of_ours_to_an_upload_lingers_and_closes(net: Net, clock: MockClock) -> None:
    client = await net.client(await net.proxy())
    await client.send(request("POST /", "Content-Length: 100000") + b"x" * 1000)
    await trio.sleep(1)
    for _ in range(10):
        await client.send(b"x" * 1000)
    answer = await client.receive_all()
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert values(answer, b"connection") == [b"close"]


async def test_answer_of_ours_to_a_whole_upload_leaves_the_connection_open(net: Net) -> None:
    client = await net.client(await net.proxy())
    await client.send(request("POST /", "Content-Length: 3") + b"abc" + request("POST /", "Content-Length: 3") + b"abc")
    for _ in range(2):
        assert (await client.response()).status == 503


async def test_answer_of_ours_to_head_has_no_body(net: Net) -> None:
    client = await net.client(await net.proxy())
    for _ in range(2):
        await client.send(request("HEAD /"))
        response = await client.response("HEAD")
        assert (response.status, response.body) == (503, b"")
        assert int(response.fields[b"content-length"]) > 100


async def test_answer_of_ours_to_1_0(net: Net) -> None:
    client = await net.client(await net.proxy())
    await client.send(request("GET /", "Connection: keep-alive", version="1.0"))
    assert (await client.response()).fields[b"connection"] == b"keep-alive"
    await client.send(request("GET /", version="1.0"))
    assert values(await client.receive_all(), b"connection") == [b"close"]


@pytest.mark.parametrize("target", ["http://example.com/a?b", "HTTP://Example.com:80/a?b"])
async def test_absolute_form(target: str, net: Net) -> None:
    backend = await net.backend()
    client = await net.client(await net.proxy(backend))
    await client.send(f"GET {target} HTTP/1.1\r\nHost: elsewhere.org\r\n\r\n".encode())
    assert (await client.response()).status == 200
    assert backend.heads[0].startswith(b"GET /a?b HTTP/1.1\r\n")
    assert values(backend.heads[0], b"host") == [target.split("/")[2].encode()]


@pytest.mark.parametrize("target", ["*", "http://example.com"])
async def test_options_about_the_server(target: str, net: Net) -> None:
    backend = await net.backend()
    client = await net.client(await net.proxy(backend))
    await client.send(request(f"OPTIONS {target}"))
    assert (await client.response()).status == 200
    assert backend.heads[0].startswith(b"OPTIONS * HTTP/1.1\r\n")


async def test_unknown_method_is_forwarded(net: Net) -> None:
    backend = await net.backend()
    client = await net.client(await net.proxy(backend))
    await client.send(request("BREW /pot"))
    assert (await client.response()).status == 200
    assert backend.heads[0].startswith(b"BREW /pot HTTP/1.1\r\n")


async def test_max_forwards_goes_down(net: Net) -> None:
    backend = await net.backend()
    client = await net.client(await net.proxy(backend))
    await client.send(request("OPTIONS /", "Max-Forwards: 7") + request("GET /", "Max-Forwards: 7"))
    for _ in range(2):
        assert (await client.response()).status == 200
    assert [values(head, b"max-forwards") for head in backend.heads] == [[b"6"], [b"7"]]


@pytest.mark.parametrize(("method", "status"), [("OPTIONS", 200), ("TRACE", 405)])
async def test_max_forwards_0_ends_here(method: str, status: int, net: Net) -> None:
    backend = await net.backend()
    client = await net.client(await net.proxy(backend))
    await client.send(request(f"{method} /", "Max-Forwards: 0"))
    response = await client.response()
    assert (response.status, b"OPTIONS" in response.fields[b"allow"]) == (status, True)
    await client.send(request(f"{method} /", "Max-Forwards: 0", "Connection: close"))
    assert values(await client.receive_all(), b"connection") == [b"close"]
    assert backend.connections == 0


HOP_BY_HOP = [
    "Keep-Alive: 5",
    "Proxy-Connection: x",
    "TE: gzip",
    "Named: x",
    "Connection: named, close-not",
    "HTTP2-Settings: x",
]


async def test_hop_by_hop_fields_of_a_request_stay_here(net: Net) -> None:
    backend = await net.backend()
    client = await net.client(await net.proxy(backend))
    await client.send(request("GET /", *HOP_BY_HOP, "Kept: one", "Kept: two"))
    assert (await client.response()).status == 200
    (head,) = backend.heads
    for name in (b"keep-alive", b"proxy-connection", b"te", b"named", b"connection", b"http2-settings"):
        assert values(head, name) == []
    assert values(head, b"kept") == [b"one", b"two"]


async def test_te_trailers_is_our_own_wish(net: Net) -> None:
    backend = await net.backend()
    client = await net.client(await net.proxy(backend))
    await client.send(request("GET /", "TE: trailers, deflate", "Connection: TE"))
    await client.response()
    assert (values(backend.heads[0], b"te"), values(backend.heads[0], b"connection")) == ([b"trailers"], [b"TE"])


async def test_backend_that_takes_too_long(net: Net, clock: MockClock) -> None:
    backend = await net.backend(never)
    client = await net.client(await net.proxy(backend, listener="back_timeout = 7"))
    for _ in range(2):
        began = trio.current_time()
        response = await client.get()
        assert response.status == 504, "and the client's connection goes on"
        assert 6.9 < trio.current_time() - began < 7.3
    await trio.sleep(1)
    assert backend.open == 0


async def test_slow_head_takes_nothing_from_the_backend_s_time(net: Net, clock: MockClock) -> None:
    async def slow(connection: BackendConnection) -> None:
        await connection.read_head()
        await trio.sleep(6)
        await connection.send(OK)

    proxy = await net.proxy(await net.backend(slow), listener="request_timeout = 4\nback_timeout = 7")
    client = await net.client(proxy)
    await client.send(GET[:9])
    await trio.sleep(3.9)
    await client.send(GET[9:])
    assert (await client.response()).status == 200


@pytest.mark.parametrize("leave", [Client.close, Client.reset, Client.send_eof])
async def test_client_that_leaves_takes_the_backend_connection_with_it(
    leave: Callable[[Client], Awaitable[None]], net: Net, clock: MockClock
) -> None:
    left: list[float] = []

    async def note_the_end(connection: BackendConnection) -> None:
        await at_end(connection)
        left.append(trio.current_time())

    proxy = await net.proxy(await net.backend(note_the_end))
    client = await net.client(proxy)
    await client.send(GET)
    await trio.sleep(5)
    began = trio.current_time()
    await leave(client)
    await trio.sleep(1)
    assert left == [began]
    assert "closed its connection" in (await access_log(proxy, 1))[0]


async def test_client_that_leaves_in_mid_response(net: Net, clock: MockClock) -> None:
    left: list[float] = []

    async def stall(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await at_end(connection)
        left.append(trio.current_time())

    client = await net.client(await net.proxy(await net.backend(stall)))
    await client.send(GET)
    await client.receive_until(b"half")
    await trio.sleep(5)
    began = trio.current_time()
    await client.close()
    await trio.sleep(1)
    assert left == [began]


async def test_client_that_is_gone_already(net: Net, clock: MockClock) -> None:
    """Its request and its FIN are there when the session begins: nobody waits for an answer."""
    proxy = await net.proxy(await net.backend(never))
    address = proxy.addresses["http"]
    for n in range(1, 11):
        with socket.create_connection((address.host, address.port)) as client:
            client.sendall(GET)
        assert "closed its connection" in (await access_log(proxy, n))[-1]
    assert trio.current_time() < 9, "no time-out did it"


@pytest.mark.parametrize("asked", [[GET], [request("POST /", "Content-Length: 1"), b"x"]])
@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", b"nonsense"])
async def test_client_whose_leaving_shows_only_when_it_is_written_to(
    answer: bytes, asked: list[bytes], net: Net, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Readable, "watch", lambda *_: None)

    async def late(connection: BackendConnection) -> None:
        await connection.read_head()
        await trio.sleep(1)
        await connection.send(answer)
        await at_end(connection)

    backend = await net.backend(late)
    proxy = await net.proxy(backend)
    client = await net.client(proxy)
    for part in asked:
        await client.send(part)
        await trio.sleep(0.1)
    await client.reset()
    (line,) = await access_log(proxy, 1)
    assert "ERROR-ACCESS" in line
    await trio.sleep(1)
    assert backend.open == 0


@pytest.mark.parametrize(("gone", "status"), [({}, 200), ({"clusters": {}, "backends": {}}, 503)])
async def test_listener_that_was_removed_meanwhile(
    gone: dict[str, Any], status: int, net: Net, clock: MockClock
) -> None:
    """What has begun is served as it would have been."""
    proxy = await net.proxy(await net.backend())
    client = await net.client(proxy)
    await client.send(GET[:9])
    await trio.sleep(1)
    state = proxy.supervisor.state
    await proxy.supervisor.change(replace(state, listeners={}, http_frontends={}, **gone), 2)
    await client.send(GET[9:])
    response = await client.response()
    assert (response.status, response.fields[b"connection"]) == (status, b"close")


async def test_request_keeps_the_table_it_began_with(net: Net, clock: MockClock) -> None:
    async def slow(connection: BackendConnection) -> None:
        await connection.read_head()
        await trio.sleep(5)
        await connection.send(OK)
        await at_end(connection)

    backend = await net.backend(slow)
    proxy = await net.proxy(backend)
    client = await net.client(proxy)
    await client.send(GET)
    await trio.sleep(1)
    await deny(proxy)
    assert (await client.response()).status == 200
    assert (await client.get()).status == 401


async def test_backend_that_was_removed_meanwhile_is_not_kept(net: Net, clock: MockClock) -> None:
    async def slow(connection: BackendConnection) -> None:
        await connection.read_head()
        await trio.sleep(5)
        await connection.send(OK)
        await at_end(connection)

    backend = await net.backend(slow)
    proxy = await net.proxy(backend)
    client = await net.client(proxy)
    await client.send(GET)
    await trio.sleep(1)
    await proxy.supervisor.change(replace(proxy.supervisor.state, backends={}), 2)
    assert (await client.response()).status == 200
    await trio.sleep(0.1)
    assert backend.open == 0


async def test_one_line_per_request(net: Net, clock: MockClock) -> None:
    proxy = await net.proxy(await net.backend(), frontend=', tags = { team = "blue" }')
    client = await net.client(proxy)
    await client.send(request("POST /a?b", "Content-Length: 3", "User-Agent: test") + b"abc" + request("GET /missing"))
    first = await client.response()
    await client.response()
    line, second = await access_log(proxy, 2)
    assert f" {first.fields[b'sozu-id'].decode()} api b0] {client.address} " in line
    assert f" {len(request('POST /a?b', 'Content-Length: 3', 'User-Agent: test')) + 3} " in line, "bytes in"
    assert "[team=blue, user-agent=test]" in line
    assert line.endswith(" HTTP example.com POST /a?b 200 | complete")
    assert " GET /missing 200 " in second


async def test_counters(net: Net, clock: MockClock) -> None:
    running = await net.proxy(await net.backend())
    async with open_alone(running.config) as alone:
        counters = alone.proxy.counters
        sent = 0
        for host in (b"example.com", b"example.org"):
            asked = b"POST / HTTP/1.1\r\nHost: %b\r\nContent-Length: 1\r\n\r\nx" % host
            await alone.client.send(asked)
            await alone.client.response()
            sent += len(asked)
        assert (counters.requests, counters.active_requests, counters.access_lines) == (2, 0, 2)
        assert (counters.by_status[2], counters.by_status[4], counters.unrouted) == (1, 1, 1)
        assert (counters.pool_hits, counters.pool_misses, counters.bytes_in) == (0, 1, sent)
        assert 400 < counters.bytes_out < 600
        await alone.client.send(b"nonsense\r\n")
        refusal = await alone.client.receive_all()
        assert (counters.requests, counters.by_status[4], counters.client_errors) == (2, 2, 1)
        assert (counters.access_lines, counters.bytes_in) == (3, sent + 10)
        assert 400 + len(refusal) < counters.bytes_out < 600 + len(refusal)


async def test_cluster_that_is_not_declared_is_503_until_it_is(net: Net, clock: MockClock) -> None:
    proxy = await net.proxy(await net.backend())
    client = await net.client(proxy)
    state = proxy.supervisor.state
    for generation, clusters, status in ((2, {}, 503), (3, state.clusters, 200), (4, {}, 503)):
        await proxy.supervisor.change(replace(state, clusters=clusters), generation)
        assert (await client.get()).status == status
    assert "there is no cluster api" in (await access_log(proxy, 3))[-1]
