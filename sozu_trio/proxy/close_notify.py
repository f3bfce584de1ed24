"""close_notify, which ends what we say and leaves what the other side says as it is (RFC 8446 §6.1).

`SSLSocket.unwrap` writes it and at once looks for the answer. Where the other side is still speaking that is fatal:
OpenSSL drops what has come (APPLICATION_DATA_AFTER_CLOSE_NOTIFY), and nothing can be read any more. Python has no call
that only writes. So for as long as the call takes the descriptor stands for a socket nobody sends anything to; what
OpenSSL has written there is then sent on the real one, after all that was sent before.

It happens between two awaits, so no other task sees the descriptor. Waits on it go on: the kernel keeps them with the
open file, of which there is a second descriptor meanwhile.
"""

import os
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

LARGEST_ALERT: Final = 1024
"""Bytes; with its record it is 24 to 50."""


def make_close_notify(sock: ssl.SSLSocket) -> bytes:
    """The record to send; nothing may be read from `sock` by TLS afterwards where `sock.pending()` was not 0.

    Empty where there is none to send: before the handshake is done, after the connection broke, or when the process is
    out of descriptors. The peer then takes what it has got for truncated, rightly or to be safe.
    """
    try:
        with diverted(sock) as written:
            _unwrap(sock)
            return written.recv(LARGEST_ALERT)
    except (OSError, ValueError):
        return b""


def _unwrap(sock: ssl.SSLSocket) -> None:
    # The answer has not come, as it could not; where this is not raised, it had come before.
    with suppress(ssl.SSLWantReadError):
        sock.unwrap()


@contextmanager
def diverted(sock: ssl.SSLSocket) -> Iterator[socket.socket]:
    """Where what is written on `sock` meanwhile can be read. Raises OSError when no descriptor is free."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        number = sock.fileno()
        kept = os.dup(number)
        try:
            os.dup2(ours.fileno(), number, inheritable=False)
            yield theirs
        finally:
            os.dup2(kept, number, inheritable=False)
            os.close(kept)
