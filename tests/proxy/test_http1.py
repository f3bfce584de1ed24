"""Requests out of one client connection: kept alive, in order, and given only so much time."""

import pytest
import trio
from trio.testing import MockClock

from sozu_trio.config.limits import LAST_CALL
from sozu_trio.nursery.drain import Drain
from sozu_trio.testing import BackendConnection, Client
from tests.proxy.parts import GET, OK, Net, access_log, at_end, open_alone, request, values

pytestmark = pytest.mark.usefixtures("leaving")


async def name_the_path(connection: BackendConnection) -> None:
    """Answers each request with its path."""
    while True:
        path = (await connection.read_head()).split(b" ")[1]
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(path), path))


async def test_one_connection_serves_many_requests(net: Net, clock: MockClock) -> None:
    backend = await net.backend()
    client = await net.client(await net.proxy(backend))
    for _ in range(3):
        response = await client.get()
        assert (response.status, response.body) == (200, b"ok")
        assert b"connection" not in response.fields
    assert backend.connections == 1


async def test_pipelined_requests_are_answered_in_order(net: Net, clock: MockClock) -> None:
    client = await net.client(await net.proxy(await net.backend(name_the_path)))
    await client.send(request("GET /1") + request("GET /2") + request("GET /3")[:10])
    assert [(await client.response()).body for _ in range(2)] == [b"/1", b"/2"]
    await client.send(request("GET /3")[10:])
    assert (await client.response()).body == b"/3"


async def test_second_request_waits_for_the_end_of_the_first(net: Net, clock: MockClock) -> None:
    seen: list[bytes] = []
    finish = trio.Event()

    async def slowly(connection: BackendConnection) -> None:
        while True:
            seen.append((await connection.read_head()).split(b" ")[1])
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
            await finish.wait()
            await connection.send(b"k")

    client = await net.client(await net.proxy(await net.backend(slowly)))
    await client.send(request("GET /1") + request("GET /2"))
    await trio.sleep(5)
    assert seen == [b"/1"]
    finish.set()
    assert (await client.response()).body == b"ok"
    assert (await client.response()).body == b"ok"
    assert seen == [b"/1", b"/2"]


@pytest.mark.parametrize("cut", range(1, len(GET)))
async def test_head_cut_anywhere_is_put_together(cut: int, net: Net, clock: MockClock) -> None:
    client = await net.client(await net.proxy(await net.backend()))
    await client.send(GET[:cut])
    await trio.sleep(1)
    await client.send(GET[cut:])
    assert (await client.response()).status == 200


async def test_client_that_leaves_within_a_head_leaves_nothing(net: Net, clock: MockClock) -> None:
    backend = await net.backend()
    proxy = await net.proxy(backend)
    for cut in range(len(GET)):
        client = await net.client(proxy)
        await client.send(GET[:cut])
        await (client.reset() if cut % 2 else client.close())
    await trio.sleep(1)
    assert backend.connections == 0
    assert not any("failed" in line for line in proxy.log)


async def test_an_empty_line_before_a_request_is_skipped(net: Net, clock: MockClock) -> None:
    client = await net.client(await net.proxy(await net.backend()))
    for _ in range(2):
        await client.send(b"\r\n" + GET)
        assert (await client.response()).status == 200


async def test_close_is_done_when_asked_for(net: Net, clock: MockClock) -> None:
    backend = await net.backend()
    client = await net.client(await net.proxy(backend))
    await client.send(request("GET /", "Connection: close"))
    answer = await client.receive_all()
    assert answer.endswith(b"\r\nConnection: close\r\n\r\nok")
    assert backend.open == 1, "the backend's connection is kept"


async def test_http_1_0_ends_after_one_response(net: Net, clock: MockClock) -> None:
    backend = await net.backend()
    client = await net.client(await net.proxy(backend))
    await client.send(request(version="1.0"))
    answer = await client.receive_all()
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.endswith(b"Connection: close\r\n\r\nok")
    assert backend.heads[0].startswith(b"GET / HTTP/1.1\r\n")


async def test_http_1_0_is_kept_alive_when_it_asks(net: Net, clock: MockClock) -> None:
    client = await net.client(await net.proxy(await net.backend()))
    for _ in range(2):
        await client.send(request("GET /", "Connection: keep-alive", version="1.0"))
        response = await client.response()
        assert (response.body, response.fields[b"connection"]) == (b"ok", b"keep-alive")


async def test_http_1_0_without_host(net: Net, clock: MockClock) -> None:
    backend = await net.backend()
    client = await net.client(await net.proxy(backend, hostname="*"))
    await client.send(b"GET / HTTP/1.0\r\n\r\n")
    assert (await client.receive_all()).startswith(b"HTTP/1.1 200 OK")
    assert values(backend.heads[0], b"host") == [b""]


async def test_capacity_is_exact(net: Net, clock: MockClock) -> None:
    backend = await net.backend()
    proxy = await net.proxy(backend, top="max_connections = 3\nretry_after = 9")
    clients = [await net.client(proxy) for _ in range(3)]
    for client in clients:
        assert (await client.get()).status == 200
    for _ in range(2):
        waited, answer = await time_to_close(await net.client(proxy))
        assert (waited, answer.startswith(b"HTTP/1.1 503 ")) == (0, True), "at once, without a request"
        assert (values(answer, b"retry-after"), values(answer, b"connection")) == ([b"9"], [b"close"])
    for client in clients:
        assert (await client.get()).status == 200
    await clients[0].close()
    await trio.sleep(1)
    again = await net.client(proxy)
    assert (await again.get()).status == 200
    assert (await (await net.client(proxy)).response()).status == 503


async def time_to_close(client: Client) -> tuple[float, bytes]:
    began = trio.current_time()
    data = await client.receive_all()
    return trio.current_time() - began, data


async def test_head_that_takes_too_long(net: Net, clock: MockClock) -> None:
    client = await net.client(await net.proxy(await net.backend(), listener="request_timeout = 4"))
    await trio.sleep(3)
    await client.send(GET[:5])
    await trio.sleep(3)
    await client.send(GET[5:9])
    waited, answer = await time_to_close(client)
    assert 0.9 < waited < 1.3, "counted from the head's first byte"
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert values(answer, b"connection") == [b"close"]


async def test_second_head_that_takes_too_long(net: Net, clock: MockClock) -> None:
    client = await net.client(await net.proxy(await net.backend(), listener="request_timeout = 4"))
    await client.send(GET + GET[:5])
    assert (await client.response()).status == 200
    assert (await client.response()).status == 408


async def test_who_says_nothing_is_let_go_without_a_word(net: Net, clock: MockClock) -> None:
    client = await net.client(await net.proxy(listener="request_timeout = 4\nfront_timeout = 60"))
    waited, answer = await time_to_close(client)
    assert answer == b""
    assert 3.9 < waited < 4.3


async def test_idle_connection_is_let_go_without_a_word(net: Net, clock: MockClock) -> None:
    client = await net.client(await net.proxy(await net.backend(), listener="request_timeout = 4\nfront_timeout = 20"))
    await client.get()
    waited, answer = await time_to_close(client)
    assert answer == b""
    assert 19.9 < waited < 20.3


async def test_without_timeouts_everybody_has_time(net: Net, clock: MockClock) -> None:
    async def slow(connection: BackendConnection) -> None:
        await connection.read_head()
        await trio.sleep(200)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
        await trio.sleep(200)
        await connection.send(b"k")

    backend = await net.backend(slow)
    off = "request_timeout = 0\nfront_timeout = 0\nback_timeout = 0\nconnect_timeout = 0"
    client = await net.client(await net.proxy(backend, listener=off))
    await trio.sleep(200)
    await client.send(GET[:5])
    await trio.sleep(200)
    await client.send(GET[5:])
    assert (await client.response()).body == b"ok"
    await trio.sleep(200)
    await client.send(GET)
    assert (await client.response()).body == b"ok"


async def test_drain_lets_the_idle_go_at_once(net: Net, clock: MockClock) -> None:
    proxy = await net.proxy(await net.backend())
    silent, idle = await net.client(proxy), await net.client(proxy)
    await trio.sleep(LAST_CALL)
    await idle.get()
    await proxy.supervisor.stop(30)
    for client in (silent, idle):
        assert await time_to_close(client) == (0, b"")
    with pytest.raises(OSError, match="all attempts to connect"):
        await proxy.connect()


async def test_drain_finishes_what_has_begun(net: Net, clock: MockClock) -> None:
    async def slow(connection: BackendConnection) -> None:
        await connection.read_head()
        await trio.sleep(10)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        await at_end(connection)

    proxy = await net.proxy(await net.backend(slow))
    waiting, within_head = await net.client(proxy), await net.client(proxy)
    await waiting.send(GET)
    await within_head.send(GET[:9])
    await trio.sleep(1)
    await proxy.supervisor.stop(30)
    await trio.sleep(1)
    await within_head.send(GET[9:])
    for client in (waiting, within_head):
        response = await client.response()
        assert (response.body, response.fields[b"connection"]) == (b"ok", b"close")
        assert await client.receive_all() == b""
    await proxy.supervisor.stopped.wait()
    assert proxy.supervisor.cut == 0


async def test_drain_cuts_what_takes_longer_than_its_grace(net: Net, clock: MockClock) -> None:
    async def never(connection: BackendConnection) -> None:
        await at_end(connection)

    backend = await net.backend(never)
    proxy = await net.proxy(backend)
    client = await net.client(proxy)
    await client.send(GET)
    await trio.sleep(1)
    await proxy.supervisor.stop(5)
    waited, answer = await time_to_close(client)
    assert (waited, answer) == (5, b"")
    await proxy.supervisor.stopped.wait()
    assert proxy.supervisor.cut == 1
    assert backend.open == 0


class DrainAtStep(trio.abc.Instrument):
    """Starts a drain when the named task has been woken and is about to make its `step`th step."""

    def __init__(self, drain: Drain, step: int) -> None:
        self.drain = drain
        self.left = step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.name == "session":
            self.left -= 1
            if self.left == 0:
                self.drain.start()


@pytest.mark.parametrize("at", [0, len(GET), 9])
@pytest.mark.parametrize("step", [1, 2])
async def test_drain_serves_what_has_come_meanwhile(at: int, step: int, net: Net, clock: MockClock) -> None:
    """Some of the request is in the socket when the drain starts, before its session has looked."""
    running = await net.proxy(await net.backend())
    async with open_alone(running.config, begin=GET[:at]) as alone:
        trio.lowlevel.add_instrument(DrainAtStep(alone.drain, step))
        await trio.sleep(1)
        if at == 0:
            assert await alone.client.receive_all() == b"", "it was idle"
        else:
            await alone.client.send(GET[at:])
            response = await alone.client.response()
            assert (response.status, response.fields[b"connection"]) == (200, b"close")


async def test_last_call_for_who_connected_as_the_drain_began(net: Net, clock: MockClock) -> None:
    running = await net.proxy(await net.backend())
    async with open_alone(running.config, draining=True) as alone:
        await trio.sleep(LAST_CALL / 2)
        await alone.client.send(GET)
        response = await alone.client.response()
        assert (response.status, response.fields[b"connection"]) == (200, b"close")
    async with open_alone(running.config, draining=True) as alone:
        waited, answer = await time_to_close(alone.client)
        assert answer == b""
        assert LAST_CALL <= waited < LAST_CALL + 0.2


async def test_drained_response_reaches_a_client_that_pipelines(net: Net, clock: MockClock) -> None:
    """Its next request is unread when we close: a reset then would take the end of the response with it."""
    body = bytes(300_000)

    async def large(connection: BackendConnection) -> None:
        await connection.read_head()
        await trio.sleep(1)
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + body)
        await at_end(connection)

    proxy = await net.proxy(await net.backend(large))
    client = await net.client(proxy)
    await client.send(GET)
    await trio.sleep(0.5)
    await proxy.supervisor.stop(30)
    await client.send(GET)
    await trio.sleep(1)
    response = await client.response()
    assert (len(response.body), response.fields[b"connection"]) == (len(body), b"close")
    await client.close()
    await proxy.supervisor.stopped.wait()


async def test_client_that_does_not_take_our_answer(
    net: Net, clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It gets its log line, and no request stays open in the counters."""

    async def never(connection: BackendConnection) -> None:
        await at_end(connection)

    monkeypatch.setattr("sozu_trio.proxy.exchange.answer", lambda *_, **__: bytes(20_000_000))
    proxy = await net.proxy(await net.backend(never), listener="front_timeout = 5\nback_timeout = 5")
    client = await net.client(proxy)
    await client.send(GET)
    (line,) = await access_log(proxy, 1)
    assert line.endswith("504 | took too long to read the answer")


@pytest.mark.parametrize("pause", [True, False])
async def test_a_request_that_comes_with_the_end_is_answered_where_that_takes_no_backend(
    net: Net, *, pause: bool
) -> None:
    client = await net.client(await net.proxy(await net.backend(OK)))
    if pause:
        await trio.sleep(1)
    await client.send(b"GET / HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n")
    await client.stream.send_eof()
    assert (await client.receive_all()).startswith(b"HTTP/1.1 404 ")
