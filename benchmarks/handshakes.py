"""A load of new TLS connections: one handshake, one request, the whole answer, the end; then the next one.

wrk would not do: what it opens anew resumes the session it had, and it does not say so. Here each handshake is looked
at: a full one must have been full, a resumed one resumed.
"""

import contextlib
import functools
import socket
import ssl
from collections.abc import Iterator

from benchmarks.clients import PATIENCE, Ask, load_by
from benchmarks.measure import Load, Work, WrongAnswer


def load_anew(port: int, work: Work, seconds: float) -> Load:
    """Load 127.0.0.1:`port` with TLS connections that are new. Raises WrongAnswer."""
    return load_by([functools.partial(client, port, work)] * work.connections, seconds)


@contextlib.contextmanager
def client(port: int, work: Work) -> Iterator[Ask]:
    """Raises WrongAnswer where there is no session and should be one."""
    session = None
    if work.anew == "resumed":  # the one of before does for all of them
        with contextlib.suppress(OSError):
            session = ask(port, work, None)
        if session is None or not session.has_ticket:
            raise WrongAnswer("there is no session to resume")

    def again() -> None:
        ask(port, work, session)

    yield again


def ask(port: int, work: Work, session: ssl.SSLSession | None) -> ssl.SSLSession | None:
    """A connection, a request and its answer: a session to resume. Raises OSError, WrongAnswer."""
    assert work.secure is not None
    (host,) = work.hosts
    with (
        socket.create_connection(("127.0.0.1", port), PATIENCE) as plain,
        work.secure.context.wrap_socket(plain, server_hostname=host, session=session) as sock,
    ):
        sock.sendall(f"GET {work.path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while data := sock.recv(65536):
            answer += data
        if trouble := wrong(answer, work, resumed=bool(sock.session_reused), wanted=session is not None):
            raise WrongAnswer(trouble)
        return sock.session


def wrong(answer: bytes, work: Work, *, resumed: bool, wanted: bool) -> str:
    """What is; empty where nothing is."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 ") or body != work.body:
        return f"a new connection was answered {answer[:200]!r}"
    if resumed != wanted:
        return "a session was resumed that was not offered" if resumed else "a session was not resumed"
    return ""
