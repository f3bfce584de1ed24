"""A client that has connected and said nothing yet, where its first bytes are not those of a request."""

import math
import socket

import trio

from sozu_trio.config.limits import LAST_CALL
from sozu_trio.nursery.departure import depart
from sozu_trio.nursery.listener import SessionNode
from sozu_trio.proxy.stream import Stream


async def hears_first_word(stream: Stream, limit: float, node: SessionNode) -> bool:
    """Whether there is something to be read; False when the client says nothing within `limit` seconds of connecting,
    or closes, or the listener stops meanwhile, or the session has moved to the worker that comes next.

    One that has only just connected may have its first word on the way, and is waited for all the same. Raises OSError
    when the connection is broken.
    """
    if node.listener.departure is None and _has_spoken(stream.sock):
        return True
    drain = node.listener.drain
    deadline = node.started + limit
    released = False
    while True:
        if node.listener.departure is not None and await depart(node, lambda: None):
            stream.leave()
            return False
        with trio.move_on_at(deadline) as scope:
            drain.enter_idle(scope)
            try:
                return await is_speaking(stream)
            finally:
                released = drain.leave_idle(scope)
        stops = drain.started and node.listener.departure is None
        if released or stops or trio.current_time() >= deadline:
            break
    with trio.move_on_at(node.started + LAST_CALL if drain.started else -math.inf):
        return await is_speaking(stream)
    return False


def _has_spoken(sock: socket.socket) -> bool:
    """Most have by the time they are accepted, and need no deadline. Raises OSError when the connection is broken."""
    try:
        return bool(sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


async def is_speaking(stream: Stream) -> bool:
    """Waits until there is something to be read; False when the peer closes instead. Raises OSError when the connection
    is broken.
    """
    while True:
        try:
            return bool(stream.sock.recv(1, socket.MSG_PEEK))
        except BlockingIOError:
            await stream.wait_readable()
