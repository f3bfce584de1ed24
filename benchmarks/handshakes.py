"""A load of new TLS connections: one handshake, one request, the whole answer, the end; then the next one.

wrk would not do: what it opens anew resumes the session it had, and it does not say so. Here each handshake is looked
at: a full one must have been full, a resumed one resumed.
"""

import contextlib
import socket
import ssl
import statistics
import threading
import time
from dataclasses import dataclass, field

from benchmarks.measure import Load, Work, WrongAnswer

PATIENCE = 10
"""Seconds anything may take."""


@dataclass
class Seen:
    """What the clients have seen, all of them together."""

    seconds: list[float] = field(default_factory=list)
    """Of each connection, from its opening to its end."""
    trouble: list[str] = field(default_factory=list)


def load_anew(port: int, work: Work, seconds: float) -> Load:
    """Load 127.0.0.1:`port` with connections that are new. Raises WrongAnswer."""
    seen, deadline = Seen(), time.monotonic() + seconds
    clients = [threading.Thread(target=come, args=(port, work, deadline, seen)) for _ in range(work.connections)]
    began = time.monotonic()
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    took = time.monotonic() - began
    if seen.trouble:
        raise WrongAnswer(seen.trouble[0])
    milliseconds = [1000 * each for each in seen.seconds]
    return Load(
        requests=len(milliseconds),
        rate=len(milliseconds) / took,
        p50=statistics.median(milliseconds),
        p99=statistics.quantiles(milliseconds, n=100)[-1] if len(milliseconds) > 1 else milliseconds[0],
    )


def come(port: int, work: Work, deadline: float, seen: Seen) -> None:
    """One client, at least once, and again and again; the first trouble ends it."""
    session = None
    if work.anew == "resumed":  # the one of before does for all of them
        with contextlib.suppress(OSError):
            session, _ = ask(port, work, None)
        if session is None or not session.has_ticket:
            seen.trouble.append("there is no session to resume")
    while not seen.trouble:
        began = time.monotonic()
        try:
            _, trouble = ask(port, work, session)
        except OSError as error:
            trouble = repr(error)
        seen.seconds.append(time.monotonic() - began)
        if trouble:
            seen.trouble.append(trouble)
        if time.monotonic() >= deadline:
            return


def ask(port: int, work: Work, session: ssl.SSLSession | None) -> tuple[ssl.SSLSession | None, str]:
    """A connection, a request and its answer: a session to resume, and what was wrong. Raises OSError."""
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
        return sock.session, wrong(answer, work, resumed=bool(sock.session_reused), wanted=session is not None)


def wrong(answer: bytes, work: Work, *, resumed: bool, wanted: bool) -> str:
    """What is; empty where nothing is."""
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 ") or body != work.body:
        return f"a new connection was answered {answer[:200]!r}"
    if resumed != wanted:
        return "a session was resumed that was not offered" if resumed else "a session was not resumed"
    return ""
