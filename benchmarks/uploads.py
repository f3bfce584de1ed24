"""A load of uploads on connections that are kept; each answer says what has arrived (upload_backend.py)."""

import contextlib
import functools
import socket
from collections.abc import Iterator

from benchmarks.clients import PATIENCE, Ask, load_by
from benchmarks.connections import read_answer
from benchmarks.measure import Load, Work, WrongAnswer
from benchmarks.upload_backend import summary

CHUNK = 65536
"""Bytes of each chunk but the last."""


def load_uploads(port: int, work: Work, seconds: float) -> Load:
    """Load 127.0.0.1:`port` with what is sent. Raises WrongAnswer."""
    upload = functools.partial(client, port, request(work), summary(iter([work.sent])))
    return load_by([upload] * work.connections, seconds)


@contextlib.contextmanager
def client(port: int, upload: bytes, told: bytes) -> Iterator[Ask]:
    """Raises OSError."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as sock:
        yield functools.partial(ask, sock, upload, told)


def ask(sock: socket.socket, upload: bytes, told: bytes) -> None:
    """Raises OSError; WrongAnswer where not all of it has arrived, or something else."""
    sock.sendall(upload)
    answer = read_answer(sock, len(told))
    if not answer.startswith(b"HTTP/1.1 200 ") or answer.partition(b"\r\n\r\n")[2] != told:
        raise WrongAnswer(f"an upload was answered {answer[:200]!r}, want {told!r}")


def request(work: Work) -> bytes:
    """Head and body."""
    (host,) = work.hosts
    framing = "Transfer-Encoding: chunked" if work.chunked else f"Content-Length: {len(work.sent)}"
    head = f"POST {work.path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/octet-stream\r\n{framing}\r\n\r\n"
    return head.encode() + (chunked(work.sent) if work.chunked else work.sent)


def chunked(body: bytes) -> bytes:
    """The body in chunks of CHUNK bytes."""
    pieces = [body[start : start + CHUNK] for start in range(0, len(body), CHUNK)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])
