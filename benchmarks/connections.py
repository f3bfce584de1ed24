"""A load of new TCP connections: one opened, one request, the whole answer, the end; then the next one.

The client closes, for it knows the length of the answer: a relay that does not read what it moves can do it too.
"""

import contextlib
import functools
import socket
from collections.abc import Iterator

from benchmarks.clients import PATIENCE, Ask, load_by
from benchmarks.measure import Load, Work, WrongAnswer

LONGEST_HEAD = 65536
"""Bytes that an answer may have before its body."""


def load_opened(port: int, work: Work, seconds: float) -> Load:
    """Load 127.0.0.1:`port` with plain connections that are new. Raises WrongAnswer."""
    return load_by([functools.partial(client, port, work)] * work.connections, seconds)


@contextlib.contextmanager
def client(port: int, work: Work) -> Iterator[Ask]:
    (host,) = work.hosts
    request = f"GET {work.path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    yield functools.partial(ask, port, request, work.body)


def ask(port: int, request: bytes, body: bytes) -> None:
    """Raises OSError; WrongAnswer for another answer than 200 with `body`."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        sock.sendall(request)
        answer = read_answer(sock, len(body))
    if not answer.startswith(b"HTTP/1.1 200 ") or answer.partition(b"\r\n\r\n")[2] != body:
        raise WrongAnswer(f"a new connection was answered {answer[:200]!r}")


def read_answer(sock: socket.socket, length: int) -> bytes:
    """A head and a body of `length` bytes, or what there is before the connection ends. Raises OSError."""
    answer = sock.recv(LONGEST_HEAD)
    while len(answer.partition(b"\r\n\r\n")[2]) < length and len(answer) < LONGEST_HEAD + length:
        data = sock.recv(LONGEST_HEAD)
        if not data:
            break
        answer += data
    return answer
