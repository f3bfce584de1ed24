"""https_redirect, as a client over plain HTTP sees it; and what an https listener does as long as nobody serves TLS."""

import socket
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from sozu_trio.config.load import parse_config
from sozu_trio.main.declared import declared_by
from sozu_trio.nursery.listener import ListenerNode, SessionNode
from sozu_trio.proxy.proxy import Proxy
from sozu_trio.proxy.session import serve_session
from sozu_trio.routing.compile import compile_table
from tests.proxy.parts import GET, Net, access_log, request

HTTPS = "[[listeners]]\nprotocol = 'https'\naddress = '127.0.0.1:8443'\n"


@pytest.mark.parametrize(
    ("keys", "location"),
    [
        ("https_redirect = true", b"https://example.com/x?y=1"),
        ("https_redirect = true\nhttps_redirect_port = 8443", b"https://example.com:8443/x?y=1"),
    ],
)
async def test_redirected_at_once(net: Net, clock: MockClock, keys: str, location: bytes) -> None:
    backend = await net.backend()
    proxy = await net.proxy(backend, cluster=keys, listener="")
    client = await net.client(proxy)
    for _ in range(2):
        await client.send(request("GET /x?y=1"))
        response = await client.response()
        assert (response.status, response.fields[b"location"]) == (301, location)
    assert backend.connections == 0
    assert "redirected to https" in (await access_log(proxy, 2))[1]


async def test_who_names_no_host_cannot_be_redirected(net: Net, clock: MockClock) -> None:
    proxy = await net.proxy(await net.backend(), cluster="https_redirect = true", hostname="*")
    client = await net.client(proxy)
    await client.send(b"GET / HTTP/1.0\r\n\r\n")
    response = await client.response()
    assert (response.status, response.fields.get(b"location")) == (400, None)


async def test_an_https_listener_never_speaks_plain_http(clock: MockClock) -> None:
    config = parse_config(HTTPS, "test", Path.cwd())
    proxy = Proxy(config.program, 0)
    proxy.swap(compile_table(declared_by(config), 1))
    (listener,) = config.listeners
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.send(GET)
        node = SessionNode("name", ours, None, ListenerNode(("tcp", listener.address), ours), trio.current_time())
        await serve_session(proxy, node)
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
