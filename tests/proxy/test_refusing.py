"""What is refused, with its status, before any of it reaches a backend; and how the client gets to read the answer."""

import pytest
import trio
from trio.testing import MockClock

from sozu_trio.testing import Client
from tests.proxy.parts import GET, Net, access_log, values


def head(*lines: bytes) -> bytes:
    return b"\r\n".join([*lines, b"", b""])


HOSTED = (b"GET / HTTP/1.1", b"Host: example.com")
POSTED = (b"POST / HTTP/1.1", b"Host: example.com")
REFUSED = {
    "no Host": (400, head(b"GET / HTTP/1.1")),
    "two Hosts": (400, head(*HOSTED, b"Host: example.com")),
    "an invalid Host": (400, head(b"GET / HTTP/1.1", b"Host: exa mple.com")),
    "port 0": (400, head(b"GET / HTTP/1.1", b"Host: example.com:0")),
    "white space before the colon": (400, head(*HOSTED, b"A : b")),
    "a folded field": (400, head(*HOSTED, b"A: b", b" c")),
    "NUL in a value": (400, head(*HOSTED, b"A: b\0c")),
    "bare CR": (400, head(*HOSTED, b"A: b\rc")),
    "bare LF": (400, b"GET / HTTP/1.1\nHost: example.com\n\n"),
    "white space before the first field": (400, head(b"GET / HTTP/1.1", b" Host: example.com")),
    "two empty lines first": (400, b"\r\n\r\n" + GET),
    "both framings": (400, head(*POSTED, b"Content-Length: 3", b"Transfer-Encoding: chunked") + b"0\r\n\r\n"),
    "chunked not last": (400, head(*POSTED, b"Transfer-Encoding: chunked, gzip")),
    "chunked twice": (400, head(*POSTED, b"Transfer-Encoding: chunked, chunked")),
    "an unknown coding": (501, head(*POSTED, b"Transfer-Encoding: rot13")),
    "a coding in 1.0": (400, head(b"POST / HTTP/1.0", b"Host: example.com", b"Transfer-Encoding: chunked")),
    "differing lengths": (400, head(*POSTED, b"Content-Length: 3", b"Content-Length: 4")),
    "a signed length": (400, head(*POSTED, b"Content-Length: +3")),
    "a bad chunk size": (400, head(*POSTED, b"Transfer-Encoding: chunked") + b"xyz\r\n"),
    "a chunk size beyond all measure": (400, head(*POSTED, b"Transfer-Encoding: chunked") + b"f" * 17 + b"\r\n"),
    "a chunk extension too long": (400, head(*POSTED, b"Transfer-Encoding: chunked") + b"1;" + b"x" * 300 + b"\r\n"),
    "no CRLF after a chunk": (400, head(*POSTED, b"Transfer-Encoding: chunked") + b"1\r\nxx\r\n"),
    "a malformed request line": (400, head(b"GET /  HTTP/1.1", b"Host: example.com")),
    "HTTP/0.9": (400, b"GET /\r\n"),
    "HTTP/2.0": (505, head(b"GET / HTTP/2.0", b"Host: example.com")),
    "the preface of HTTP/2": (505, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    "TLS": (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"),
    "a target too long": (414, b"GET /" + b"a" * 9000),
    "a head too large": (431, head(*HOSTED, b"A: " + b"a" * 70000)),
    "too many fields": (431, head(*HOSTED, *[b"A: b"] * 101)),
    "an unknown expectation": (417, head(*POSTED, b"Content-Length: 1", b"Expect: the unexpected")),
    "CONNECT": (405, head(b"CONNECT example.com:80 HTTP/1.1", b"Host: example.com:80")),
    "a fragment": (400, head(b"GET /#here HTTP/1.1", b"Host: example.com")),
    "user information": (400, head(b"GET http://me@example.com/ HTTP/1.1", b"Host: example.com")),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_refused_and_nothing_reaches_a_backend(what: str, net: Net, clock: MockClock) -> None:
    status, data = REFUSED[what]
    backend = await net.backend()
    client = await net.client(await net.proxy(backend))
    await client.send(data + b"GET /smuggled HTTP/1.1\r\nHost: example.com\r\n\r\n")
    answer = await client.receive_all()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert values(answer, b"connection") == [b"close"]
    assert answer.count(b"HTTP/1.1") == 1, "nothing after it is answered"
    assert backend.connections == 0


async def test_refused_after_a_good_request(net: Net, clock: MockClock) -> None:
    backend = await net.backend()
    proxy = await net.proxy(backend)
    client = await net.client(proxy)
    await client.send(GET + b"GET / HTTP/1.1\r\n\r\n")
    assert (await client.response()).status == 200
    refused = await client.response()
    assert (refused.status, refused.fields[b"connection"]) == (400, b"close")
    assert await client.receive_all() == b""
    assert len(backend.heads) == 1
    assert any(refused.fields[b"sozu-id"].decode() in line and "no Host" in line for line in await access_log(proxy, 2))


@pytest.mark.parametrize(
    ("lines", "what", "status"),
    [
        ("max_request_line = 256", b"GET /" + b"a" * 256, 414),
        ("max_head_size = 1024", head(*HOSTED, b"A: " + b"a" * 1024), 431),
        ("max_fields = 3", head(*HOSTED, b"A: a", b"B: b", b"C: c"), 431),
    ],
)
async def test_limits_are_configured(lines: str, what: bytes, status: int, net: Net, clock: MockClock) -> None:
    client = await net.client(await net.proxy(listener=lines))
    await client.send(what)
    assert (await client.response()).status == status


async def test_a_refused_client_gets_its_answer_while_it_still_sends(net: Net, clock: MockClock) -> None:
    client = await net.client(await net.proxy())
    await client.send(b"GET / HTTP/1.1\r\n\r\n")
    answer = await client.receive_until(b"</html>\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    for _ in range(10):
        await client.send(b"more" * 1000)
    assert await client.receive_all() == b""


async def is_broken(client: Client) -> bool:
    """Whether what is sent is answered by RST."""
    try:
        await client.send(b"x")
    except trio.BrokenResourceError:
        return True
    return False


async def test_a_refused_client_that_stays_is_left(net: Net, clock: MockClock) -> None:
    client = await net.client(await net.proxy())
    await client.send(b"GET / HTTP/1.1\r\n\r\n")
    await client.receive_all()
    began = trio.current_time()
    while not await is_broken(client):  # noqa: ASYNC110 - nothing else tells
        await trio.sleep(0.1)
    assert 1.9 < trio.current_time() - began < 2.3


async def test_a_refused_client_that_floods_is_cut(net: Net, clock: MockClock) -> None:
    client = await net.client(await net.proxy())
    await client.send(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(trio.BrokenResourceError):
        await client.send(b"x" * (64 << 20))
    assert trio.current_time() < 1.9
