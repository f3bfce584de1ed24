"""One client connection, from its first byte: the PROXY header where one is expected, then what its listener speaks.

A session is a chain of coroutines, one waiting for the next, and each wait of it goes through all of them twice: 250
instructions each, and, with many sessions, memory that nobody has looked at for a while. So the chain is kept short.
"""

import math

import trio

from sozu_trio.config.limits import READ_SIZE
from sozu_trio.config.listeners import HttpListener, HttpsListener, Listener, TcpListener
from sozu_trio.errors import ProxyHeaderError
from sozu_trio.nursery.listener import SessionNode
from sozu_trio.proxy.first_word import hears_first_word
from sozu_trio.proxy.http1 import HttpConnection
from sozu_trio.proxy.https import HttpsConnection, accept_https
from sozu_trio.proxy.proxy import Proxy
from sozu_trio.proxy.proxy_header import who_and_where
from sozu_trio.proxy.stream import Stream
from sozu_trio.proxy.tcp import serve_tcp
from sozu_trio.proxy.turning_away import turn_away
from sozu_trio.wire.proxy_protocol import ProxyHeader, parse_proxy_header


async def serve_session(proxy: Proxy, node: SessionNode) -> None:
    """Serve the connection of `node` to its end and close it."""
    again = True
    while again:
        # By what its listener is now: that may become another one before the client has said anything.
        listener = proxy.table.listeners.get(node.listener.key)
        if listener is None:
            return  # It was let in and its listener removed, in this order.
        if isinstance(listener, HttpsListener):
            connection: HttpsConnection | bool = False
            with node.until_killed():
                connection = await accept_https(proxy, node, listener)
            if isinstance(connection, bool):
                again = connection
                continue
            await connection.run()
            return
        node.kind = "tcp" if isinstance(listener, TcpListener) else "http"
        stream = Stream(node.sock, listener.timeouts.front)
        header, early = None, b""
        if listener.expect_proxy:
            with node.until_killed():
                if not await hears_first_word(stream, listener.timeouts.request or math.inf, node):
                    return
                if (proxy.table.listeners.get(node.listener.key) or listener) is not listener:
                    continue
                header, early = await _proxy_header(stream, listener)
            if header is None:
                return  # It was killed.
        client, destination = who_and_where(node, header)
        if header is not None and not proxy.places.arrive(node.held, client.host):
            proxy.counters.refused_sources += 1
            turn_away(proxy, node.sock, listener)
            return
        if isinstance(listener, HttpListener):
            again = await HttpConnection(proxy, node, stream, listener, client, destination, early).run()
        else:
            with node.until_killed():
                await serve_tcp(proxy, node, stream, listener, client, destination, header, early)
            return


async def _proxy_header(stream: Stream, listener: Listener) -> tuple[ProxyHeader, bytes]:
    """The header and what came after it. Raises ProxyHeaderError when it is none, or takes too long."""
    limit = listener.timeouts.request or math.inf
    buffer = b""
    with trio.move_on_after(limit):
        while (header := parse_proxy_header(buffer)) is None:
            data = await stream.receive(READ_SIZE)
            if not data:
                raise ProxyHeaderError("the connection was closed in the middle of its PROXY header")
            buffer += data
        return header, buffer[len(header.raw) :]
    raise ProxyHeaderError("the PROXY header took too long")
