"""What a connection is told that may not stay, once its PROXY header has said whose it is.

Whoever is turned away at once is told by `doors.py`.
"""

import contextlib
import socket
from typing import TYPE_CHECKING

from sozu_trio.config.listeners import Listener, protocol_of
from sozu_trio.proxy.answers import answer

if TYPE_CHECKING:
    from sozu_trio.proxy.proxy import Proxy


def turn_away(proxy: "Proxy", sock: socket.socket, listener: Listener) -> None:
    """Answer 429 where `listener` speaks plain http, nothing elsewhere. Closing is left to the caller."""
    if protocol_of(listener) != "http":
        return
    with contextlib.suppress(OSError):
        # A fresh socket's buffer takes this in one piece; a client that makes it fail gets nothing.
        sock.send(answer(429, proxy.ids.next(), close=True, retry_after=proxy.settings.retry_after))
