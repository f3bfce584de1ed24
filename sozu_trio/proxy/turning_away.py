"""What a connection is told that may not stay: an answer where its listener speaks plain http, a plain close elsewhere.

Nobody is queued, so a client knows at once. TLS would cost what is lacking.
"""

import contextlib
import socket
from typing import TYPE_CHECKING

from sozu_trio.config.listeners import Listener, protocol_of
from sozu_trio.proxy.answers import answer
from sozu_trio.proxy.http1 import linger
from sozu_trio.proxy.stream import Stream

if TYPE_CHECKING:
    from sozu_trio.proxy.proxy import Proxy


async def turn_away(
    proxy: "Proxy", sock: socket.socket, listener: Listener | None, status: int, *, polite: bool
) -> None:
    """`listener` is None where it has been removed meanwhile. `polite`: wait until the client has read the answer, for
    a while. Closing is left to the caller.
    """
    if listener is None or protocol_of(listener) != "http":
        return
    data = answer(status, proxy.ids.next(), close=True, retry_after=proxy.settings.retry_after)
    with contextlib.suppress(OSError):
        # A fresh socket's buffer takes this in one piece; a client that makes it fail gets nothing.
        sock.send(data)
        if polite:
            await linger(Stream(sock, 0))
