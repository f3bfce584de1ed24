"""The embedded demonstration: a page, two backends in turns, and each request as it reached them."""

import json
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import memory_stream_pair

from sozu_trio import app
from sozu_trio.cli import demo
from sozu_trio.cli.demo import LONGEST_DELAY, open_demonstration, serve_demo, welcome
from sozu_trio.config.addresses import Address
from sozu_trio.testing import Client
from sozu_trio.testing.harness import RecordedLogs

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def address(demonstrated: tuple[Address, Address]) -> Address:
    return demonstrated[0]


@asynccontextmanager
async def served() -> AsyncIterator[None]:
    async with open_demonstration() as demonstration, app.open_proxy(demonstration.config, logs=RecordedLogs("info")):
        assert demonstration.config.notices == ()
        yield


async def test_two_backends_take_turns(address: Address) -> None:
    async with served():
        client = await Client.open(address)
        names = [(await client.get("/hello")).fields[b"x-demo-backend"] for _ in range(4)]
        assert sorted(names[:2]) == [b"demo-1", b"demo-2"]
        assert names[:2] == names[2:]
        await client.close()


async def test_the_page_shows_the_request_as_it_arrived_and_nothing_of_it_is_markup(address: Address) -> None:
    async with served():
        client = await Client.open(address)
        page = await client.get("/", X_Mine="<script>")
        assert page.fields[b"content-type"] == b"text/html; charset=utf-8"
        assert b"GET /" in page.body
        assert b"X-Forwarded-For: 127.0.0.1" in page.body
        assert b"X-Mine: &lt;script&gt;" in page.body
        assert b"<script>" not in page.body
        await client.close()


async def test_anything_else_is_told_as_json(address: Address) -> None:
    async with served():
        client = await Client.open(address)
        await client.send(b"POST /hello?a=1 HTTP/1.1\r\nHost: h\r\nX-Mine: 1\r\nContent-Length: 9\r\n\r\nsome text")
        told = json.loads((await client.response()).body)
        assert (told["method"], told["target"], told["body"]) == ("POST", "/hello?a=1", "some text")
        assert "X-Mine: 1" in told["fields"]
        await client.close()


async def test_head_and_expect_and_chunks(address: Address) -> None:
    async with served():
        client = await Client.open(address)
        await client.send(b"HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert (await client.response("HEAD")).body == b""
        await client.send(b"PUT /p HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert await client.receive_until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        await client.send(b"3\r\nabc\r\n0\r\n\r\n")
        assert json.loads((await client.response()).body)["body"] == "abc"
        await client.close()


@pytest.mark.parametrize(("target", "seconds"), [("/slow?5", 5), ("/slow?x", 1), ("/slow?999999", LONGEST_DELAY)])
async def test_an_answer_may_be_slow(target: str, seconds: float) -> None:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_demo, "demo-1", theirs)
        begun = trio.current_time()
        await ours.send_all(f"GET {target} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n".encode())
        assert (await ours.receive_some()).startswith(b"HTTP/1.1 200 OK\r\n")
        assert trio.current_time() - begun == seconds


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"GET / HTT",
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.0\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\nmore",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nGET / HTTP/1.1\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\nmore",
    ],
)
async def test_a_connection_ends_with_its_client(said: bytes) -> None:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_demo, "demo-1", theirs)
        await ours.send_all(said)
        await ours.send_eof()


async def test_a_client_that_is_gone_is_nothing() -> None:
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_demo, "demo-1", theirs)
        await ours.send_all(b"GET /slow?1 HTTP/1.1\r\nHost: h\r\n\r\n")
        await trio.sleep(0.5)
        await ours.aclose()


async def test_the_welcome_has_lines_to_try() -> None:
    lines = [line for line in welcome(Path("/a folder/authority.pem")).splitlines() if line.startswith("  curl ")]
    assert len(lines) == 5
    assert all("http://127.0.0.1:8080/" in line for line in lines[:4])
    assert lines[4].startswith("  curl --cacert '/a folder/authority.pem' https://localhost:8443/   ")


async def test_the_same_over_tls_for_who_trusts_the_file_that_the_welcome_names(
    address: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.joinpath("sozu.sock.d").mkdir()
    authority = tmp_path / "sozu.sock.d" / "authority.pem"
    async with open_demonstration() as demonstration, app.open_proxy(demonstration.config, logs=RecordedLogs("info")):
        async with AsyncExitStack() as stack:
            assert str(authority) in demonstration.greet(stack)
            context = ssl.create_default_context(cafile=authority)
            assert b"PRIVATE KEY" not in authority.read_bytes()
        assert not authority.exists()
        plain = await trio.open_tcp_stream("127.0.0.1", int(demo.SECURE_ADDRESS.rpartition(":")[2]))
        stream = trio.SSLStream(plain, context, server_hostname="localhost", https_compatible=True)
        await stream.send_all(b"GET /hello HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b"".join([data async for data in stream])
        await stream.aclose()
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"X-Forwarded-Proto: https" in answer
