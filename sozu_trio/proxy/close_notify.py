"""close_notify, which ends what we say and leaves what the other side says as it is (RFC 8446 §6.1).

`SSLSocket.unwrap` writes it and at once looks for the answer. Where the other side is still speaking that is fatal:
OpenSSL drops what has come (APPLICATION_DATA_AFTER_CLOSE_NOTIFY), and nothing can be read any more. Python has no call
that only writes. So for as long as the call takes the descriptor stands for a socket nobody sends anything to; what
OpenSSL has written there is then sent on the real one, after all that was sent before.

It happens between two awaits, so no other task sees the descriptor. Waits on it go on: the kernel keeps them with the
open file, of which there is a second descriptor meanwhile. The pair of sockets that stands in is kept for the next
connection: it takes 20 µs to make.
"""

import os
import select
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Final

LARGEST_ALERT: Final = 1024
"""Bytes; with its record it is 24 to 50."""
_Pair = tuple[int, int]
"""Descriptors of two sockets that are connected with each other."""
_kept: Final[list[_Pair]] = []
"""One at most, with nothing in it."""


def make_close_notify(sock: ssl.SSLSocket) -> bytes:
    """The record to send; nothing may be read from `sock` by TLS afterwards where `sock.pending()` was not 0.

    Empty where there is none to send: before the handshake is done, after the connection broke, or when the process is
    out of descriptors. The peer then takes what it has got for truncated, rightly or to be safe.
    """
    try:
        with diverted(sock) as written:
            _unwrap(sock)
            return os.read(written, LARGEST_ALERT)
    except (OSError, ValueError):
        return b""


def _unwrap(sock: ssl.SSLSocket) -> None:
    # The answer has not come, as it could not; where this is not raised, it had come before.
    with suppress(ssl.SSLWantReadError):
        sock.unwrap()


@contextmanager
def diverted(sock: socket.socket) -> Iterator[int]:
    """The descriptor where what is written on `sock` meanwhile can be read. Raises OSError when none is free."""
    pair = _kept.pop() if _kept else _make_pair()
    try:
        with _in_place_of(sock.fileno(), pair[0]):
            yield pair[1]
    except BaseException:
        _close(pair)  # Something may be left in it.
        raise
    if _kept or _has_something(pair[1]):
        _close(pair)
    else:
        _kept.append(pair)


@contextmanager
def _in_place_of(number: int, other: int) -> Iterator[None]:
    kept = os.dup(number)
    try:
        os.dup2(other, number, inheritable=False)
        yield
    finally:
        os.dup2(kept, number, inheritable=False)
        os.close(kept)


def _has_something(number: int) -> bool:
    poll = select.poll()
    poll.register(number, select.POLLIN)
    return bool(poll.poll(0))


def _make_pair() -> _Pair:
    ours, theirs = socket.socketpair()
    for each in (ours, theirs):
        each.setblocking(False)
    return ours.detach(), theirs.detach()


def _close(pair: _Pair) -> None:
    for each in pair:
        os.close(each)
