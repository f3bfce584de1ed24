"""Sessions that began in the worker before, by what is configured here and now."""

import logging
import socket
from functools import partial
from typing import TypeGuard

from sozu_trio.config.listeners import HttpListener, Listener, protocol_of
from sozu_trio.control.moves import KeptAlive, Parcel
from sozu_trio.nursery.listener import Resume, SessionNode
from sozu_trio.proxy.http1 import HttpConnection
from sozu_trio.proxy.proxy import Proxy
from sozu_trio.proxy.session import serve_session
from sozu_trio.proxy.stream import Stream
from sozu_trio.proxy.tunnels import go_on_relaying, record_of_json

log = logging.getLogger(__name__)


def resumption(proxy: Proxy, parcel: Parcel) -> Resume | None:
    """What goes on with the session in `parcel`; None where it has no place here."""
    listener = proxy.table.listeners.get((parcel.transport, parcel.address))
    if listener is None:
        return None
    if parcel.kept_alive is not None:
        return partial(_go_on, proxy, listener, parcel.kept_alive) if _is_plain_http(listener) else None
    tunnelled = parcel.tunnelled
    if tunnelled is None:
        return partial(_begin, proxy)
    if protocol_of(listener) != ("http" if tunnelled.upgraded else "tcp"):
        return None
    # One that was removed there only serves what it has left, and is cut when its time is over; here nobody would.
    state = proxy.backends.configured((tunnelled.cluster_id, tunnelled.backend_id, tunnelled.backend))
    if state is None:
        return None
    try:
        return partial(go_on_relaying, proxy, state, tunnelled, record_of_json(tunnelled.record))
    except ValueError as error:
        # Of another version of this program.
        log.warning("session %s stays where it is: %s", parcel.name, error)
        return None


def _is_plain_http(listener: Listener) -> TypeGuard[HttpListener]:
    """One of https is an HttpListener as well, but what moves here never speaks TLS."""
    return protocol_of(listener) == "http"


async def _begin(proxy: Proxy, node: SessionNode, backend: socket.socket | None) -> None:
    """Its client has said nothing yet."""
    assert backend is None
    await serve_session(proxy, node)


async def _go_on(
    proxy: Proxy, listener: HttpListener, kept: KeptAlive, node: SessionNode, backend: socket.socket | None
) -> None:
    assert backend is None
    stream = Stream(node.sock, listener.timeouts.front)
    connection = HttpConnection(
        proxy,
        node,
        stream,
        listener,
        kept.client,
        kept.destination,
        kept.early,
        idle=kept.idle,
        requests=kept.requests,
    )
    if await connection.run():
        await serve_session(proxy, node)
