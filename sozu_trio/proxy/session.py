"""One client connection, from its first byte: the PROXY header where one is expected, then what its listener speaks."""

import logging
import math
from typing import Any

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.limits import LAST_CALL, READ_SIZE
from sozu_trio.config.listeners import HttpListener, HttpsListener, Listener, TcpListener
from sozu_trio.errors import ProxyHeaderError
from sozu_trio.nursery.departure import depart
from sozu_trio.nursery.listener import SessionNode
from sozu_trio.proxy.http1 import HttpConnection
from sozu_trio.proxy.proxy import Proxy
from sozu_trio.proxy.stream import Stream
from sozu_trio.proxy.tcp import serve_tcp
from sozu_trio.wire.proxy_protocol import ProxyHeader, parse_proxy_header

log = logging.getLogger(__name__)


async def serve_session(proxy: Proxy, node: SessionNode) -> None:
    """Serve the connection of `node` to its end and close it."""
    listener = proxy.table.listeners.get(node.listener.key)
    if listener is None:
        return  # It was let in and its listener removed, in this order.
    if isinstance(listener, HttpsListener):
        return  # Main lets none be active (`main/unserved.py`), and plain HTTP there would be worse than nothing.
    if isinstance(listener, TcpListener):
        node.kind = "tcp"
    stream = Stream(node.sock, listener.timeouts.front)
    header, early = await _proxy_header(stream, listener, node)
    if listener.expect_proxy and header is None:
        return
    client = header.source if header and header.source else _address(node.peer)
    destination = header.destination if header and header.destination else _address(node.sock.getsockname())
    if isinstance(listener, HttpListener):
        await HttpConnection(proxy, node, stream, listener, client, destination, early).run()
    else:
        await serve_tcp(proxy, node, stream, listener, client, destination, header, early)


def _address(sockname: Any) -> Address:
    host, port, *_ = sockname
    # A dual-stack peer is an IPv4 one in disguise; logs and rules know it by its own address.
    return Address(host.removeprefix("::ffff:") if "." in host else host, port)


async def _proxy_header(stream: Stream, listener: Listener, node: SessionNode) -> tuple[ProxyHeader | None, bytes]:
    """The header and what came after it; (None, b"") where none is expected, or the peer never said a word.

    Raises ProxyHeaderError for anything else, or when it takes too long.
    """
    if not listener.expect_proxy:
        return None, b""
    limit = listener.timeouts.request or math.inf
    buffer = await _first_bytes(stream, limit, node)
    if not buffer:
        return None, b""
    with trio.move_on_after(limit):
        while (header := parse_proxy_header(buffer)) is None:
            data = await stream.receive(READ_SIZE)
            if not data:
                raise ProxyHeaderError("the connection was closed in the middle of its PROXY header")
            buffer += data
        return header, buffer[len(header.raw) :]
    raise ProxyHeaderError("the PROXY header took too long")


async def _first_bytes(stream: Stream, limit: float, node: SessionNode) -> bytes:
    """What the peer says first; nothing when it says nothing within `limit` seconds of connecting, or the listener
    stops meanwhile, or the session has moved to the worker that comes next.

    One that has only just connected may have its header on the way, and is waited for all the same.
    """
    drain = node.listener.drain
    deadline = node.started + limit
    while True:
        if node.listener.departure is not None and await depart(node, lambda: None):
            stream.leave()
            return b""
        with trio.move_on_at(deadline) as scope:
            drain.enter_idle(scope)
            try:
                return await stream.receive(READ_SIZE)
            finally:
                drain.leave_idle(scope)
        if node.listener.departure is None or trio.current_time() >= deadline:
            break
    with trio.move_on_at(node.started + LAST_CALL if drain.started else -math.inf):
        return await stream.receive(READ_SIZE)
    return b""
