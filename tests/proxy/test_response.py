"""The backend's answer on its way to the client: framed for its reader, cut where it was cut, 502 where it is none."""

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from sozu_trio.testing import BackendConnection, Client
from tests.proxy.parts import GET, OK, Net, access_log, at_end, fields_of, is_reset, request, values

pytestmark = pytest.mark.usefixtures("leaving")

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


def say(*parts: bytes | float, stay: bool = False) -> Callable[[BackendConnection], Awaitable[None]]:
    """Reads a head, then sends `parts`; a number is a pause in seconds. Then closes, or stays until the proxy does."""

    async def script(connection: BackendConnection) -> None:
        await connection.read_head()
        for part in parts:
            if isinstance(part, bytes):
                await connection.send(part)
            else:
                await trio.sleep(part)
        if stay:
            await at_end(connection)

    return script


async def ask(net: Net, script: object, data: bytes = GET) -> Client:
    """A client whose request goes to a backend that does `script`."""
    client = await net.client(await net.proxy(await net.backend(script)))
    await client.send(data)
    return client


async def test_length(net: Net) -> None:
    backend = await net.backend(
        b"HTTP/1.1 200 Fine\r\nContent-Length: 2\r\nServer: a\r\nSet-Cookie: b\r\nSet-Cookie: c\r\n\r\nok"
    )
    client = await net.client(await net.proxy(backend))
    for _ in range(2):
        await client.send(GET)
        head = await client.receive_until(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 Fine\r\nServer: a\r\nSet-Cookie: b\r\nSet-Cookie: c\r\n")
        assert (values(head, b"content-length"), await client.receive_exactly(2)) == ([b"2"], b"ok")
    assert backend.connections == 1


async def test_empty_body(net: Net) -> None:
    backend = await net.backend(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    client = await net.client(await net.proxy(backend))
    for _ in range(2):
        assert (await client.get()).body == b""


async def test_chunked_with_trailers(net: Net) -> None:
    chunks = b"3;an=extension\r\nabc\r\n2\r\nde\r\n0\r\nDigest: x\r\nSet-Cookie: no\r\nContent-Length: 9\r\n\r\n"
    backend = await net.backend(CHUNKED + chunks)
    client = await net.client(await net.proxy(backend))
    for _ in range(2):
        response = await client.get()
        assert (response.body, response.trailers) == (b"abcde", [(b"digest", b"x")])
        assert response.fields[b"transfer-encoding"] == b"chunked"
    assert backend.connections == 1


async def test_chunks_are_passed_on_as_they_come(net: Net, clock: MockClock) -> None:
    client = await ask(net, say(CHUNKED + b"1\r\na\r\n", 5.0, b"1\r\n", 5.0, b"b\r\n", 5.0, b"0\r\n\r\n"))
    await client.receive_until(b"1\r\na\r\n")
    assert trio.current_time() < 4
    await client.receive_until(b"1\r\nb\r\n")
    assert trio.current_time() < 14
    assert await client.receive_until(b"0\r\n\r\n") == b"0\r\n\r\n"


async def test_close_delimited_becomes_chunked(net: Net, clock: MockClock) -> None:
    client = await ask(net, say(CLOSE + b"abc", 1.0, b"de"), GET + GET)
    for _ in range(2):
        response = await client.response()
        assert (response.body, response.fields[b"transfer-encoding"]) == (b"abcde", b"chunked")


@pytest.mark.parametrize("answer", [CLOSE + b"abcde", CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n0\r\nDigest: x\r\n\r\n"])
async def test_http_1_0_gets_it_close_delimited(answer: bytes, net: Net) -> None:
    client = await ask(net, say(answer), request("GET /", "Connection: keep-alive", version="1.0"))
    head, _, body = (await client.receive_all()).partition(b"\r\n\r\n")
    assert body == b"abcde"
    assert values(head, b"connection") == [b"close"]
    assert values(head, b"transfer-encoding") == []


async def test_http_1_0_from_a_backend(net: Net) -> None:
    backend = await net.backend(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok")
    client = await net.client(await net.proxy(backend))
    for n in (1, 2):
        assert (await client.get()).body == b"ok"
        assert backend.connections == n


@pytest.mark.parametrize(
    ("method", "answer", "length"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", [b"7"]),
        ("HEAD", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", []),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n", []),
        ("GET", b"HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: x\r\n\r\n", [b"7"]),
        ("GET", b"HTTP/1.1 304 Not Modified\r\n\r\n", []),
    ],
)
async def test_response_without_a_body(method: str, answer: bytes, length: list[bytes], net: Net) -> None:
    backend = await net.backend(answer)
    client = await net.client(await net.proxy(backend))
    for _ in range(2):
        await client.send(request(f"{method} /"))
        head = await client.receive_until(b"\r\n\r\n")
        assert head.split(b"\r\n")[0] == answer.split(b"\r\n")[0]
        assert values(head, b"content-length") == length
        assert values(head, b"connection") == []
    assert backend.connections == 1


async def test_body_where_none_can_be_ends_the_backend_connection(net: Net) -> None:
    backend = await net.backend(b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n")
    client = await net.client(await net.proxy(backend))
    for n in (1, 2):
        assert (await client.get()).status == 204
        assert backend.connections == n


async def test_hop_by_hop_fields_of_a_response_stay_here(net: Net) -> None:
    here = b"Connection: keep-alive, Named\r\nKeep-Alive: 5\r\nNamed: x\r\nUpgrade: h2c\r\nProxy-Connection: x\r\n"
    client = await ask(net, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + here + b"Kept: y\r\n\r\nok")
    head = await client.receive_until(b"\r\n\r\n")
    assert {name for name, _ in fields_of(head)} == {b"content-length", b"kept", b"sozu-id"}


async def test_id_is_ours_alone(net: Net) -> None:
    client = await ask(net, b"HTTP/1.1 200 OK\r\nSozu-Id: theirs\r\nContent-Length: 2\r\n\r\nok")
    (ulid,) = values(await client.receive_until(b"\r\n\r\n"), b"sozu-id")
    assert len(ulid) == 26


async def test_via(net: Net) -> None:
    backend = await net.backend(b"HTTP/1.0 200 OK\r\nVia: 1.1 inner\r\nContent-Length: 2\r\n\r\nok")
    client = await net.client(await net.proxy(backend, listener='via = "edge"\nsozu_id_header = "Trace-Id"'))
    await client.send(request("GET /", "Via: 1.1 outer", "Connection: keep-alive", version="1.0"))
    head = await client.receive_until(b"\r\n\r\n")
    assert values(head, b"via") == [b"1.1 inner", b"1.0 edge"]
    assert len(values(head, b"trace-id")[0]) == 26
    assert values(backend.heads[0], b"via") == [b"1.1 outer", b"1.0 edge"]


async def test_interim_responses_go_before(net: Net) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
    client = await ask(net, say(hints + hints[:20], hints[20:] + OK, stay=True))
    assert await client.receive_until(b"\r\n\r\n") == hints
    response = await client.response()
    assert (response.interim, response.status) == ([103], 200)


async def test_interim_responses_are_not_for_1_0(net: Net) -> None:
    client = await ask(net, say(b"HTTP/1.1 103 Early Hints\r\n\r\n" + OK), request(version="1.0"))
    assert (await client.receive_all()).startswith(b"HTTP/1.1 200 OK\r\n")


async def test_flood_of_interim_responses(net: Net) -> None:
    client = await ask(net, say(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 1000, stay=True))
    response = await client.response()
    assert (response.status, len(response.interim)) == (502, 64)


@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"\x15\x03\x03\x00\x02\x02\x46",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 70000,
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 103 Early Hints\r\n\r\nHTT",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    ],
)
async def test_what_is_no_response(answer: bytes, net: Net) -> None:
    backend = await net.backend(say(answer))
    client = await net.client(await net.proxy(backend))
    for n in (1, 2):
        response = await client.get()
        assert response.status == 502
        assert backend.connections == n


async def test_backend_that_resets_within_its_head(net: Net) -> None:
    async def reset(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\n")
        await trio.sleep(0.1)
        await connection.reset()

    assert (await (await ask(net, reset)).response()).status == 502


async def test_backend_that_resets_before_its_head(net: Net) -> None:
    async def reset(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.reset()

    assert (await (await ask(net, reset)).response()).status == 502


CUT = [
    ("1.1", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
    ("1.0", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"),
    ("1.1", CHUNKED + b"4\r\nhalf\r\n"),
    ("1.1", CHUNKED + b"9\r\nhalf"),
    ("1.1", CHUNKED + b"4\r\nhalf\r\n0\r\n"),
    ("1.1", CHUNKED + b"4\r\nhalf\r\nnonsense\r\n"),
    ("1.0", CHUNKED + b"4\r\nhalf\r\n"),
    ("1.0", CHUNKED + b"4\r\nhalf\r\nnonsense\r\n"),
]


@pytest.mark.parametrize(("version", "answer"), CUT)
async def test_cut_short_is_seen_to_be(version: str, answer: bytes, net: Net, clock: MockClock) -> None:
    beginning = answer[: answer.index(b"half") + 4]
    backend = await net.backend(say(beginning, 1.0, answer[len(beginning) :]))
    proxy = await net.proxy(backend)
    client = await net.client(proxy)
    await client.send(request(version=version))
    data = await client.receive_until(b"half")
    assert await is_reset(client)
    assert b"\r\n0\r\n" not in data
    assert "the response was cut short" in (line := (await access_log(proxy, 1))[0]) or "chunk" in line


@pytest.mark.parametrize("version", ["1.0", "1.1"])
@pytest.mark.parametrize("head", [CLOSE, CHUNKED + b"9\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"])
async def test_reset_by_the_backend_is_seen_to_be(head: bytes, version: str, net: Net, clock: MockClock) -> None:
    async def reset(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(head + b"half")
        await trio.sleep(1)
        await connection.reset()

    client = await ask(net, reset, request(version=version))
    await client.receive_until(b"half")
    assert await is_reset(client)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_stop_in_mid_response_is_seen_to_be(version: str, net: Net, clock: MockClock) -> None:
    proxy = await net.proxy(await net.backend(say(CLOSE + b"half", stay=True)))
    client = await net.client(proxy)
    await client.send(request(version=version))
    await client.receive_until(b"half")
    await proxy.supervisor.stop(1)
    assert await is_reset(client)
    assert "cut by the operator" in (await access_log(proxy, 1))[0]


async def test_response_that_stalls(net: Net, clock: MockClock) -> None:
    backend = await net.backend(say(CHUNKED + b"4\r\nhalf\r\n", stay=True))
    client = await net.client(await net.proxy(backend, listener="back_timeout = 7"))
    await client.send(GET)
    await client.receive_until(b"half")
    began = trio.current_time()
    assert await is_reset(client)
    assert 6.9 < trio.current_time() - began < 7.3


async def test_client_that_reads_nothing(net: Net, clock: MockClock) -> None:
    async def flood(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000\r\n\r\n")
        while True:
            await connection.send(b"x" * 1_000_000)

    backend = await net.backend(flood)
    proxy = await net.proxy(backend, listener="front_timeout = 7")
    client = await net.client(proxy)
    await client.send(GET)
    (line,) = await access_log(proxy, 1)
    assert "took too long to read the response" in line
    assert 6.9 < trio.current_time() < 20, "time jumps on while the kernel fills its buffers"
    assert backend.open == 0
    assert await is_reset(client)


async def test_response_that_trickles(net: Net, clock: MockClock) -> None:
    """Each wait has its whole time."""
    parts: list[bytes | float] = [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"]
    for _ in range(10):
        parts += [5.0, b"x"]
    backend = await net.backend(say(*parts, stay=True))
    client = await net.client(await net.proxy(backend, listener="back_timeout = 7"))
    assert (await client.get()).body == b"x" * 10


async def test_bytes_after_a_response_are_nobody_s(net: Net) -> None:
    backend = await net.backend(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
    client = await net.client(await net.proxy(backend))
    for n in (1, 2):
        assert (await client.get()).body == b"ok"
        assert backend.connections == n


@pytest.mark.parametrize("field", [b"Connection: close\r\n", b"Connection: Close, foo\r\n"])
async def test_backend_that_closes(field: bytes, net: Net) -> None:
    backend = await net.backend(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n" + field + b"\r\nok")
    client = await net.client(await net.proxy(backend))
    for n in (1, 2):
        response = await client.get()
        assert (response.body, b"connection" in response.fields) == (b"ok", False)
        assert backend.connections == n
