"""One client connection, from its first byte: the PROXY header where one is expected, then what its listener speaks."""

import math

import trio

from sozu_trio.config.limits import READ_SIZE
from sozu_trio.config.listeners import HttpListener, HttpsListener, Listener, TcpListener
from sozu_trio.errors import ProxyHeaderError
from sozu_trio.nursery.listener import SessionNode
from sozu_trio.proxy.first_word import hears_first_word
from sozu_trio.proxy.http1 import HttpConnection
from sozu_trio.proxy.https import serve_https
from sozu_trio.proxy.proxy import Proxy
from sozu_trio.proxy.proxy_header import who_and_where
from sozu_trio.proxy.stream import Stream
from sozu_trio.proxy.tcp import serve_tcp
from sozu_trio.proxy.turning_away import turn_away
from sozu_trio.wire.proxy_protocol import ProxyHeader, parse_proxy_header


async def serve_session(proxy: Proxy, node: SessionNode) -> None:
    """Serve the connection of `node` to its end and close it."""
    listener = proxy.table.listeners.get(node.listener.key)
    if listener is None:
        return  # It was let in and its listener removed, in this order.
    if isinstance(listener, HttpsListener):
        await serve_https(proxy, node, listener)
        return
    if isinstance(listener, TcpListener):
        node.kind = "tcp"
    stream = Stream(node.sock, listener.timeouts.front)
    header, early = await _proxy_header(stream, listener, node)
    if listener.expect_proxy and header is None:
        return
    client, destination = who_and_where(node, header)
    if header is not None and not proxy.places.arrive(node.held, client.host):
        proxy.counters.refused_sources += 1
        await turn_away(proxy, node.sock, listener, 429, polite=False)
    elif isinstance(listener, HttpListener):
        await HttpConnection(proxy, node, stream, listener, client, destination, early).run()
    else:
        await serve_tcp(proxy, node, stream, listener, client, destination, header, early)


async def _proxy_header(stream: Stream, listener: Listener, node: SessionNode) -> tuple[ProxyHeader | None, bytes]:
    """The header and what came after it; (None, b"") where none is expected, or the peer never said a word.

    Raises ProxyHeaderError for anything else, or when it takes too long.
    """
    if not listener.expect_proxy:
        return None, b""
    limit = listener.timeouts.request or math.inf
    if not await hears_first_word(stream, limit, node):
        return None, b""
    buffer = b""
    with trio.move_on_after(limit):
        while (header := parse_proxy_header(buffer)) is None:
            data = await stream.receive(READ_SIZE)
            if not data:
                raise ProxyHeaderError("the connection was closed in the middle of its PROXY header")
            buffer += data
        return header, buffer[len(header.raw) :]
    raise ProxyHeaderError("the PROXY header took too long")
