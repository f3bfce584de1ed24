"""How large a request may be, how many a connection may have; and that a limit holds from the next request on."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from sozu_trio.config.limits import HeadLimits
from sozu_trio.config.listeners import Timeouts
from sozu_trio.testing import BackendConnection, RunningProxy
from sozu_trio.testing.plugin import StartBackend, StartProxy
from tests.proxy.limiting import change_listener, passed
from tests.proxy.parts import GET, OK, Net, access_log, at_end, is_reset, request
from tests.proxy.secure import open_client, secure_text

pytestmark = pytest.mark.virtual_time

CHUNKED = request("POST /", "Transfer-Encoding: chunked")


def chunk(size: int) -> bytes:
    return b"%x\r\n%b\r\n" % (size, b"x" * size)


def post(size: int, *fields: str) -> bytes:
    return request("POST /", f"Content-Length: {size}", *fields)


async def test_a_length_beyond_the_limit_is_refused_at_the_head(net: Net) -> None:
    backend = await net.backend()
    proxy = await net.proxy(backend, listener="max_body_size = 10")
    client = await net.client(proxy)
    await client.send(post(10) + b"x" * 10)
    assert (await client.response()).status == 200
    await client.send(post(11, "Expect: 100-continue"))
    response = await client.response()
    assert (response.status, response.fields[b"connection"], response.interim) == (413, b"close", [])
    assert await client.receive_all() == b""
    assert len(backend.heads) == 1
    assert await passed(proxy) == {"body_size": 1}
    assert (await access_log(proxy, 2))[1].endswith(" 413 | the request body has more than 10 bytes")


@pytest.mark.parametrize(
    ("listener", "frontend", "size", "status"),
    [
        (0, "", 100, 200),
        (10, ", max_body_size = 100", 100, 200),
        (10, ", max_body_size = 100", 101, 413),
        (10, ", max_body_size = 0", 1000, 200),
        (0, ", max_body_size = 5", 6, 413),
    ],
)
async def test_a_frontend_goes_by_its_own(net: Net, listener: int, frontend: str, size: int, status: int) -> None:
    proxy = await net.proxy(await net.backend(), listener=f"max_body_size = {listener}", frontend=frontend)
    for head, body in ((post(size), b"x" * size), (CHUNKED, chunk(size) + b"0\r\n\r\n")):
        client = await net.client(proxy)
        await client.send(head + body)
        assert (await client.response()).status == status


class Witness:
    """A backend that reads what comes until its connection ends; it answers first where it is `eager`."""

    def __init__(self, *, eager: bool = False) -> None:
        self.seen: list[bytes] = []
        self._eager = eager

    async def __call__(self, connection: BackendConnection) -> None:
        await connection.read_head()
        if self._eager:
            await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
        self.seen.append(await at_end(connection))


def payload(chunks: bytes) -> int:
    """Bytes in chunks of x."""
    return chunks.count(b"x")


async def test_a_chunked_body_is_refused_where_it_goes_beyond(net: Net) -> None:
    witness = Witness()
    proxy = await net.proxy(await net.backend(witness), listener="max_body_size = 100")
    client = await net.client(proxy)
    await client.send(CHUNKED + chunk(60))
    await trio.sleep(1)
    await client.send(chunk(40))
    await trio.sleep(1)
    await client.send(chunk(1) + b"0\r\n\r\n")
    response = await client.response()
    assert (response.status, response.fields[b"connection"]) == (413, b"close")
    assert await client.receive_all() == b""
    await trio.sleep(1)
    assert payload(witness.seen[0]) == 100
    assert not witness.seen[0].endswith(b"0\r\n\r\n")
    assert await passed(proxy) == {"body_size": 1}


async def test_a_chunked_body_of_just_the_limit(net: Net) -> None:
    proxy = await net.proxy(await net.backend(), listener="max_body_size = 100")
    client = await net.client(proxy)
    await client.send(CHUNKED + chunk(60) + chunk(40) + b"0\r\n\r\n")
    assert (await client.response()).status == 200


async def test_where_a_response_has_begun_the_client_is_cut(net: Net) -> None:
    witness = Witness(eager=True)
    proxy = await net.proxy(await net.backend(witness), listener="max_body_size = 100")
    client = await net.client(proxy)
    await client.send(CHUNKED + chunk(60))
    await client.receive_until(b"begun")
    await client.send(chunk(60))
    assert await is_reset(client)
    assert await passed(proxy) == {"body_size": 1}


@pytest.mark.parametrize("pipelined", [True, False])
async def test_so_many_requests_and_no_more(net: Net, *, pipelined: bool) -> None:
    backend = await net.backend()
    proxy = await net.proxy(backend, listener="max_requests_per_connection = 3")
    client = await net.client(proxy)
    asked: Sequence[bytes] = [GET * 5] if pipelined else [GET] * 3
    if pipelined:
        await client.send(asked[0])
    for number in range(3):
        if not pipelined:
            await client.send(asked[number])
        response = await client.response()
        assert response.fields.get(b"connection") == (b"close" if number == 2 else None)
    assert await client.receive_all() == b""
    assert len(backend.heads) == 3
    assert await passed(proxy) == {"requests_per_connection": 1}


async def test_a_client_that_leaves_by_itself_has_passed_no_limit(net: Net) -> None:
    proxy = await net.proxy(await net.backend(), listener="max_requests_per_connection = 1")
    client = await net.client(proxy)
    await client.send(request("GET /", "Connection: close"))
    assert (await client.receive_all()).endswith(b"ok")
    assert await passed(proxy) == {}


@pytest.mark.parametrize(
    ("listener", "sent", "status", "limit"),
    [
        ("max_request_line = 300", request("GET /" + "x" * 300), 414, "request_line"),
        ("max_head_size = 400", request("GET /", "A: " + "x" * 400), 431, "head_size"),
        ("max_fields = 3", request("GET /", "A: a", "B: b", "C: c"), 431, "fields"),
        ("request_timeout = 3", GET[:-1], 408, "head_time"),
        ("front_timeout = 3", post(3), 408, "body_time"),
    ],
)
async def test_each_is_counted_by_its_name(net: Net, listener: str, sent: bytes, status: int, limit: str) -> None:
    proxy = await net.proxy(await net.backend(Witness()), listener=listener)
    client = await net.client(proxy)
    await client.send(sent)
    assert (await client.response()).status == status
    assert await passed(proxy) == {limit: 1}


async def test_who_is_idle_is_counted_when_closed(net: Net) -> None:
    proxy = await net.proxy(await net.backend(), listener="front_timeout = 3")
    client = await net.client(proxy)
    await client.get()
    assert await client.receive_all() == b""
    assert await passed(proxy) == {"idle": 1}


async def test_another_listener_holds_from_the_next_request_on(net: Net) -> None:
    proxy = await net.proxy(await net.backend(), listener="via = 'before'")
    client = await net.client(proxy)
    await client.send(post(10) + b"x" * 10)
    assert (await client.response()).fields[b"via"] == b"1.1 before"
    await client.send(post(4)[:30])
    await trio.sleep(0.1)
    await change_listener(proxy, max_body_size=3, via="after", sozu_id_header="Other-Id")
    await client.send(post(4)[30:] + b"abcd")
    response = await client.response()
    assert (response.status, response.fields[b"via"]) == (200, b"1.1 before"), "it had begun"
    await client.send(post(3) + b"abc")
    response = await client.response()
    assert (response.status, response.fields[b"via"]) == (200, b"1.1 after")
    assert b"other-id" in response.fields
    await client.send(post(4) + b"abcd")
    assert (await client.response()).status == 413


@pytest.mark.parametrize(
    ("fields", "sent", "status"),
    [
        ({"limits": HeadLimits(fields=2)}, request("GET /", "A: a", "B: b"), 431),
        ({"limits": HeadLimits(request_line=10)}, request("GET /0123456789"), 414),
        ({"timeouts": Timeouts(request=2)}, GET[:-1], 408),
        ({"timeouts": Timeouts(front=2)}, post(1), 408),
        ({"min_body_rate": 10, "timeouts": Timeouts(front=0)}, post(1), 408),
    ],
)
async def test_every_limit_changes_for_connections_that_are_open(
    net: Net, fields: dict[str, object], sent: bytes, status: int
) -> None:
    proxy = await net.proxy(await net.backend(Witness()))
    client = await net.client(proxy)
    # Of the witness none has an answer: a path that leads nowhere has.
    await client.send(request("GET /").replace(b"example.com", b"example.org"))
    assert (await client.response()).status == 404
    await change_listener(proxy, **fields)
    began = trio.current_time()
    await client.send(sent)
    assert (await client.response()).status == status
    assert trio.current_time() - began < 12


async def test_the_number_of_requests_changes_while_it_is_open(net: Net) -> None:
    proxy = await net.proxy(await net.backend())
    client = await net.client(proxy)
    for _ in range(5):
        assert b"connection" not in (await client.get()).fields
    await change_listener(proxy, max_requests_per_connection=7)
    assert b"connection" not in (await client.get()).fields
    assert (await client.get()).fields[b"connection"] == b"close"
    assert await client.receive_all() == b""


async def test_the_same_within_tls(tmp_path: Path, start_proxy: StartProxy, start_backend: StartBackend) -> None:
    text = secure_text(tmp_path, listener="max_body_size = 10")
    proxy: RunningProxy = await start_proxy(text, api=await start_backend(OK))
    client = await open_client(proxy.addresses["https"])
    await client.send(post(10) + b"x" * 10)
    assert (await client.response()).status == 200
    await change_listener(proxy, max_body_size=9)
    await client.send(post(10) + b"x" * 10)
    response = await client.response()
    assert (response.status, response.fields[b"connection"]) == (413, b"close")
    await trio.aclose_forcefully(client.stream)
