"""Connections out of a listening socket.

What `accept` may raise on Linux has three sorts. A connection that died in the queue reports its own death (accept(2):
"network errors of the new socket"), so those are passed over. The kernel may be out of something (descriptors,
memory): accepting rests a moment, and who owns descriptors that nobody uses is asked to give them back; without the
rest the loop would spin, because the listening socket stays readable. Everything else is a programming error and is
raised.

EINVAL is of a socket that listens no more: all who have it share it, and one of them has shut it down. Only main can
have it listen again, and will (`nursery/sockets.py`).

What others do: trio.serve_listeners has the same three sorts but no limit, no relief, and logs a traceback ten times a
second; nginx switches accepting off for 500 ms; HAProxy counts sockets beforehand and stops at its maxconn. Beyond
`max_connections` we go on accepting, to refuse: a kernel queue that fills tells clients nothing.
"""

import errno
import math
import socket
from collections.abc import Callable
from typing import Any, NoReturn

import trio

from sozu_trio.config.limits import EXHAUSTED_PAUSE, UNSENT
from sozu_trio.nursery.bind import BACKLOG
from sozu_trio.nursery.overload import Overload
from sozu_trio.nursery.shortage import Shortage

EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
DEAD_IN_THE_QUEUE = frozenset(
    {
        errno.ECONNABORTED,
        errno.EPERM,  # a firewall rule
        errno.EPROTO,
        errno.ENETDOWN,
        errno.ENOPROTOOPT,
        errno.EHOSTDOWN,
        errno.ENONET,
        errno.EHOSTUNREACH,
        errno.EOPNOTSUPP,
        errno.ENETUNREACH,
        errno.ETIMEDOUT,
        errno.ECONNRESET,
    },
)

Take = Callable[[socket.socket, Any], None]
Relieve = Callable[[OSError], int]


async def accept_forever(
    listening: socket.socket,
    take: Take,
    relieve: Relieve,
    turn_away: Take,
    overload: Overload,
    shortage: Shortage,
) -> NoReturn:
    """Hand every connection to `take(sock, peer)`, non-blocking and without Nagle's delay (44 ms per TLS handshake
    with it).

    `relieve(error)` is called when the kernel is out of descriptors or memory, once in EXHAUSTED_PAUSE at most, and
    returns how many descriptors that gives back; then `shortage` says for how long to rest. Whom `overload` wants to
    be shed are handed to `turn_away` instead. Raises OSError for what is no such case.
    """
    relieved = -math.inf
    # Accepted sockets inherit it.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
    while True:
        await trio.lowlevel.wait_readable(listening)
        shed, taken = overload.admission(listening)
        for number in range(shed + taken):
            try:
                sock, peer = listening.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in DEAD_IN_THE_QUEUE:
                    continue
                if error.errno in EXHAUSTED:
                    asked = 0
                    # After a short rest those who were let in must not be asked to leave at once.
                    if (now := trio.current_time()) >= relieved + EXHAUSTED_PAUSE:
                        relieved = now
                        asked = relieve(error)
                    await shortage.rest(asked)
                elif error.errno == errno.EINVAL:
                    await trio.sleep(EXHAUSTED_PAUSE)
                else:
                    raise
                break
            if number < shed:
                sock.setblocking(False)
                turn_away(sock, peer)
            else:
                _hand_over(sock, peer, take)
        else:
            overload.fell_behind(listening)


def accept_queued(listening: socket.socket, take: Take) -> None:
    """Hand over who has connected already, without waiting: the socket is about to be closed, which would reset
    them.
    """
    for _ in range(BACKLOG):
        try:
            sock, peer = listening.accept()
        except OSError as error:
            if error.errno in DEAD_IN_THE_QUEUE:
                continue
            return
        _hand_over(sock, peer, take)


def _hand_over(sock: socket.socket, peer: Any, take: Take) -> None:
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    take(sock, peer)
