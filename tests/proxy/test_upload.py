"""The client's body on its way to the backend, beside the response: framed anew, awaited only while it is wanted."""

import pytest
import trio
from trio.testing import MockClock

from sozu_trio.config.limits import HeadLimits
from sozu_trio.proxy.body import Body
from sozu_trio.proxy.patience import Wheel
from sozu_trio.proxy.pipes import PipeStock
from sozu_trio.proxy.stream import Stream
from sozu_trio.proxy.upload import Upload, bad_body, client_gone
from sozu_trio.testing import BackendConnection, Client
from sozu_trio.wire.heads import Framing
from tests.addresses import free_address
from tests.proxy.parts import OK, Feed, Net, access_log, at_end, is_reset, request, values

CHUNKED = request("POST /", "Transfer-Encoding: chunked")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def post(length: int, *fields: str) -> bytes:
    return request("POST /", f"Content-Length: {length}", *fields)


class Taker:
    """A backend that reads requests up to `mark`, or `count` bytes of body, and answers each."""

    def __init__(self, *, mark: bytes = b"", count: int = 0) -> None:
        self.heads: list[bytes] = []
        self.bodies: list[bytes] = []
        self._mark = mark
        self._count = count

    async def __call__(self, connection: BackendConnection) -> None:
        while True:
            self.heads.append(await connection.read_head())
            if self._mark:
                self.bodies.append(await connection.receive_until(self._mark))
            else:
                self.bodies.append(await connection.receive_exactly(self._count))
            await connection.send(OK)


async def test_length(net: Net, clock: MockClock) -> None:
    taker = Taker(count=6)
    backend = await net.backend(taker)
    client = await net.client(await net.proxy(backend))
    for parts in ([b"abcdef"], [b"", b"abc", b"def"], [b"a", b"bcdef"]):
        await client.send(post(6) + parts[0])
        for part in parts[1:]:
            await trio.sleep(1)
            await client.send(part)
        assert (await client.response()).body == b"ok"
    assert taker.bodies == [b"abcdef"] * 3
    assert values(taker.heads[1], b"content-length") == [b"6"]
    assert backend.connections == 1, "used again after a body, too"


async def test_length_0(net: Net) -> None:
    taker = Taker()
    client = await net.client(await net.proxy(await net.backend(taker)))
    await client.send(post(0))
    assert (await client.response()).status == 200
    assert values(taker.heads[0], b"content-length") == [b"0"]


@pytest.mark.parametrize("cut", [0, 1, 5, 6, 9, 15, 25, 40])
async def test_chunked_with_trailers(cut: int, net: Net, clock: MockClock) -> None:
    taker = Taker(mark=b"\r\n\r\n")
    client = await net.client(await net.proxy(await net.backend(taker)))
    body = b"3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nDigest: x\r\nHost: evil\r\n\r\n"
    await client.send(CHUNKED + body[:cut])
    await trio.sleep(1)
    await client.send(body[cut:] + CHUNKED + b"0\r\n\r\n")
    for _ in range(2):
        assert (await client.response()).body == b"ok"
    chunks, trailers = taker.bodies[0].split(b"0\r\n", 1)
    assert b"".join(chunks.split(b"\r\n")[1::2]) == b"abcde"
    assert trailers == b"Digest: x\r\n\r\n"
    assert taker.bodies[1] == b"0\r\n\r\n"
    assert (values(taker.heads[0], b"transfer-encoding"), values(taker.heads[0], b"content-length")) == (
        [b"chunked"],
        [],
    )


async def test_http_1_0_uploads(net: Net) -> None:
    taker = Taker(count=3)
    client = await net.client(await net.proxy(await net.backend(taker)))
    await client.send(request("POST /", "Content-Length: 3", version="1.0") + b"abc")
    assert (await client.receive_all()).endswith(b"ok")
    assert taker.bodies == [b"abc"]


async def test_100_continue_end_to_end(net: Net, clock: MockClock) -> None:
    seen: list[bytes] = []

    async def wait_and_see(connection: BackendConnection) -> None:
        seen.append(await connection.read_head())
        await trio.sleep(5)
        seen.append(b"nothing more yet")
        await connection.send(CONTINUE)
        seen.append(await connection.receive_exactly(3))
        await connection.send(OK)
        await at_end(connection)

    client = await net.client(await net.proxy(await net.backend(wait_and_see)))
    await client.send(post(3, "Expect: 100-continue"))
    assert await client.receive_until(b"\r\n\r\n") == CONTINUE
    assert values(seen[0], b"expect") == [b"100-continue"]
    await client.send(b"abc")
    response = await client.response()
    assert (response.body, response.interim) == (b"ok", [])
    assert seen[1:] == [b"nothing more yet", b"abc"]
    assert b"connection" not in response.fields


async def test_100_continue_for_a_body_that_is_there_already(net: Net) -> None:
    taker = Taker(count=3)
    client = await net.client(await net.proxy(await net.backend(taker)))
    await client.send(post(3, "Expect: 100-continue") + b"abc")
    assert (await client.response()).body == b"ok"
    assert taker.bodies == [b"abc"]


async def test_backend_that_never_says_continue(net: Net, clock: MockClock) -> None:
    """The client waits as it should: it is the backend that takes too long."""

    async def silent(connection: BackendConnection) -> None:
        await connection.read_head()
        assert await at_end(connection) == b""

    proxy = await net.proxy(await net.backend(silent), listener="front_timeout = 2\nback_timeout = 5")
    client = await net.client(proxy)
    started = trio.current_time()
    await client.send(post(3, "Expect: 100-continue"))
    assert (await client.response()).status == 504
    assert trio.current_time() - started == pytest.approx(5, abs=0.2)


async def test_client_that_was_told_to_continue_and_does_not(net: Net, clock: MockClock) -> None:
    async def waiting(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(CONTINUE)
        assert await at_end(connection) == b""

    proxy = await net.proxy(await net.backend(waiting), listener="front_timeout = 5\nback_timeout = 2")
    client = await net.client(proxy)
    started = trio.current_time()
    await client.send(post(3, "Expect: 100-continue"))
    response = await client.response()
    assert (response.status, response.interim) == (408, [100])
    assert trio.current_time() - started == pytest.approx(5, abs=0.2)


async def test_expectation_refused_by_the_backend(net: Net, clock: MockClock) -> None:
    async def refuse(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        assert await at_end(connection) == b""

    backend = await net.backend(refuse)
    client = await net.client(await net.proxy(backend))
    await client.send(post(3, "Expect: 100-continue"))
    response = await client.response()
    assert (response.status, response.fields[b"connection"]) == (401, b"close")
    assert await client.receive_all() == b""
    await trio.sleep(1)
    assert backend.open == 0


async def test_early_response_ends_the_upload(net: Net, clock: MockClock) -> None:
    async def refuse(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.receive_exactly(1000)
        await connection.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await at_end(connection)

    backend = await net.backend(refuse)
    client = await net.client(await net.proxy(backend))
    await client.send(post(10**9) + b"x" * 1000)
    response = await client.response()
    assert (response.status, response.body, response.fields[b"connection"]) == (413, b"big", b"close")
    await client.send(b"x" * 1000)
    await trio.sleep(0.1)
    assert backend.open == 0
    assert await client.receive_all() == b"", "closed with FIN, after it was read from for a while"
    assert trio.current_time() < 3


async def test_early_response_of_a_backend_that_closes_unread(net: Net, clock: MockClock) -> None:
    async def refuse(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig")

    client = await net.client(await net.proxy(await net.backend(refuse)))
    await client.send(post(10**9) + b"x" * 200_000)
    response = await client.response()
    assert (response.status, response.body) == (413, b"big")


async def test_both_ways_at_once(net: Net, clock: MockClock) -> None:
    """The backend answers before it has read everything, and both go on."""

    async def echo(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        for _ in range(9):
            await connection.send((await connection.receive_exactly(1)).upper())
        await at_end(connection)

    client = await net.client(await net.proxy(await net.backend(echo)))
    await client.send(post(9))
    await client.receive_until(b"\r\n\r\n")
    for letter in (b"a", b"b", b"c"):
        await client.send(letter)
        assert await client.receive_exactly(1) == letter.upper()
        await trio.sleep(20)
    await client.send(b"defghi")
    assert await client.receive_all() == b"DEFGHI"


async def test_response_goes_on_though_the_client_sends_no_more(net: Net, clock: MockClock) -> None:
    async def tick(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(5):
            await trio.sleep(10)
            await connection.send(b"1\r\nx\r\n")
        await connection.send(b"0\r\n\r\n")
        await at_end(connection)

    backend = await net.backend(tick)
    client = await net.client(await net.proxy(backend, listener="front_timeout = 15\nback_timeout = 15"))
    await client.send(post(10) + b"half")
    assert (await client.response()).body == b"xxxxx"


async def test_client_that_stalls_in_its_body(net: Net, clock: MockClock) -> None:
    backend = await net.backend(Taker(count=10))
    client = await net.client(await net.proxy(backend, listener="front_timeout = 7\nback_timeout = 3"))
    await client.send(post(10) + b"x")
    await trio.sleep(6)
    await client.send(b"x")
    began = trio.current_time()
    response = await client.response()
    assert (response.status, response.fields[b"connection"]) == (408, b"close")
    assert 6.9 < trio.current_time() - began < 7.3
    await trio.sleep(1)
    assert backend.open == 0


async def test_backend_s_time_runs_from_the_end_of_the_upload(net: Net, clock: MockClock) -> None:
    async def never(connection: BackendConnection) -> None:
        await at_end(connection)

    client = await net.client(await net.proxy(await net.backend(never), listener="back_timeout = 5"))
    await client.send(post(2))
    await trio.sleep(20)
    await client.send(b"a")
    await trio.sleep(20)
    await client.send(b"b")
    began = trio.current_time()
    assert (await client.response()).status == 504
    assert 4.9 < trio.current_time() - began < 5.3


@pytest.mark.parametrize("leave", [Client.close, Client.reset, Client.send_eof])
@pytest.mark.parametrize("head", [post(10) + b"half", CHUNKED + b"4\r\nhalf\r\n"])
async def test_client_that_leaves_in_mid_upload(leave: object, head: bytes, net: Net, clock: MockClock) -> None:
    left: list[tuple[float, bytes]] = []

    async def read(connection: BackendConnection) -> None:
        await connection.read_head()
        data = await at_end(connection)
        left.append((trio.current_time(), data))

    proxy = await net.proxy(await net.backend(read))
    client = await net.client(proxy)
    await client.send(head)
    await trio.sleep(5)
    began = trio.current_time()
    await leave(client)  # type: ignore[operator]
    await trio.sleep(1)
    ((at, data),) = left
    assert at == began
    assert not data.endswith(b"0\r\n\r\n"), "never a well-formed lie"
    assert (
        " POST / - | in its request body: " in (line := (await access_log(proxy, 1))[0])
        or "closed its connection" in line
    )


async def test_body_that_turns_out_malformed(net: Net, clock: MockClock) -> None:
    got: list[bytes] = []

    async def read(connection: BackendConnection) -> None:
        await connection.read_head()
        got.append(await at_end(connection))

    client = await net.client(await net.proxy(await net.backend(read)))
    await client.send(CHUNKED + b"1\r\na\r\n")
    await trio.sleep(1)
    await client.send(b"nonsense\r\n")
    response = await client.response()
    assert (response.status, response.fields[b"connection"]) == (400, b"close")
    await trio.sleep(1)
    assert got == [b"1\r\na\r\n"], "no last chunk"


async def test_malformed_body_under_a_response_cuts_it(net: Net, clock: MockClock) -> None:
    async def begin(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf")
        await at_end(connection)

    client = await net.client(await net.proxy(await net.backend(begin)))
    await client.send(CHUNKED)
    await client.receive_until(b"half")
    await client.send(b"nonsense\r\n")
    assert await is_reset(client)


async def test_backend_that_breaks_off_in_mid_upload(net: Net, clock: MockClock) -> None:
    async def reset(connection: BackendConnection) -> None:
        await connection.read_head()
        await connection.receive_exactly(1)
        await connection.reset()

    backend = await net.backend(reset)
    client = await net.client(await net.proxy(backend))
    await client.send(post(10) + b"x")
    await trio.sleep(1)
    await client.send(b"x")
    response = await client.response()
    assert (response.status, response.fields[b"connection"], backend.connections) == (502, b"close", 1)


async def test_backend_that_breaks_off_is_noticed_while_the_client_is_silent(net: Net, clock: MockClock) -> None:
    async def leave(connection: BackendConnection) -> None:
        await connection.read_head()
        await trio.sleep(1)

    client = await net.client(await net.proxy(await net.backend(leave)))
    await client.send(post(10) + b"x")
    assert (await client.response()).status == 502
    assert trio.current_time() < 2


async def test_upload_to_a_backend_that_refuses(net: Net, clock: MockClock) -> None:
    """Nothing was written to the first, so even a POST goes on to the second."""
    taker = Taker(count=6)
    client = await net.client(await net.proxy(free_address(), await net.backend(taker)))
    await client.send(post(6) + b"abc")
    await trio.sleep(1)
    await client.send(b"def")
    assert (await client.response()).status == 200
    assert taker.bodies == [b"abcdef"]


class Broken(Feed):
    """A peer that takes no more."""

    def send(self, data: bytes) -> int:
        raise BrokenPipeError


async def test_backend_that_takes_no_more_is_left_to_the_response() -> None:
    wheel = Wheel()
    body = Body(Stream(Feed(), 0), Framing.LENGTH, 9, HeadLimits(), bad_body, client_gone)  # type: ignore[arg-type]
    response = wheel.patience()
    upload = Upload(
        body, PipeStock(), patience=wheel.patience(), response=response, answered=lambda: False, waits=False
    )
    others = trio.CancelScope()
    await upload.run(Stream(Broken(), 0), b"head", others)  # type: ignore[arg-type]
    assert (upload.complete, upload.failure, others.cancel_called) == (False, None, False)


def test_what_is_wrong_with_a_body_is_the_client_s_fault() -> None:
    assert (bad_body("why").status, str(bad_body("why"))) == (400, "why")
    assert str(client_gone("why")) == "in its request body: why"
