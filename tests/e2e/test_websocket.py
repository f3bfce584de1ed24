"""A WebSocket client and server through the proxy: after 101 everything passes as it is, in both directions."""

import random
from collections.abc import Iterator

import pytest

from benchmarks.ports import free_port
from tests.e2e.clients import curl
from tests.e2e.configurations import http_proxy
from tests.e2e.parts import Proxy, StartProxy, wait_until
from tests.e2e.servers import serving, show_head
from tests.e2e.websocket import GO, WebSocket, open_websocket, serve_echo

MEBIBYTE = 1 << 20


@pytest.fixture
def echo_port() -> Iterator[int]:
    with serving(serve_echo) as port:
        yield port


@pytest.fixture
def proxy(echo_port: int, start_proxy: StartProxy) -> Proxy:
    return start_proxy(http_proxy(free_port(), echo_port))


@pytest.fixture
def client(proxy: Proxy) -> Iterator[WebSocket]:
    with open_websocket(proxy.port) as opened:
        yield opened


def test_text(client: WebSocket) -> None:
    client.send_message("grüß dich")
    assert client.receive() == "grüß dich"


def test_a_mebibyte_of_bytes(client: WebSocket) -> None:
    message = random.randbytes(MEBIBYTE)
    client.send_message(message)
    assert client.receive() == message


def test_many_messages_keep_their_order(client: WebSocket) -> None:
    for number in range(200):
        client.send_message(str(number))
    assert [client.receive() for _ in range(200)] == [str(number) for number in range(200)]


def test_ping_and_pong(client: WebSocket) -> None:
    assert client.ping(b"are you there?") == b"are you there?"


def test_client_closes(client: WebSocket, proxy: Proxy) -> None:
    client.close(1000, "done")
    assert client.receive() is None
    assert client.closed == (1000, "done")
    assert client.ended()
    wait_until(lambda: "WS localhost GET / 101 | upgraded; complete" in proxy.output())


def test_server_closes(client: WebSocket) -> None:
    client.send_message(GO)
    assert client.receive() is None
    assert client.closed == (1001, "as you wish")
    assert client.ended()


def test_other_protocols_are_not_asked_for(start_proxy: StartProxy) -> None:
    with serving(show_head) as port:
        proxy = start_proxy(http_proxy(free_port(), port))
        answer = curl(f"http://127.0.0.1:{proxy.port}/", "--header", "Connection: Upgrade", "--header", "Upgrade: h2c")
    assert answer.status == 200
    assert b"upgrade" not in answer.body.lower()
