"""The end of a connection whose peer may still be sending."""

import trio

from sozu_trio.config.limits import LINGER, LINGER_BYTES, READ_SIZE
from sozu_trio.proxy.stream import Stream


async def linger(stream: Stream) -> None:
    """Send FIN and read for a while: closing on unread input would reset the connection (RFC 9112 §9.6).

    The client would then lose the answer.
    """
    with trio.move_on_after(LINGER):
        stream.shutdown()
        thrown_away = 0
        while thrown_away < LINGER_BYTES and (data := await stream.receive(READ_SIZE)):
            thrown_away += len(data)
