"""Memory of an idle keep-alive connection: how much CLIENTS of them add to what all processes of a relay have resident.

Each client has made one request, so each connection has had what a request leaves behind. Some have come and gone
before the first look, one at a time: what is there once is not counted. Nor is what nginx sets aside for connections
when it starts, 0.4 KiB for each that it may have.
"""

import contextlib
import socket
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks import report
from benchmarks.bars import Row
from benchmarks.connections import read_answer
from benchmarks.measure import WrongAnswer
from benchmarks.peers import HOST, PEERS, SMALL, backend_serving, serving
from benchmarks.rounds import Outcome, say
from sozu_trio.config.descriptors import raise_descriptor_limit

CLIENTS, WARM_UP = 8000, 200
BAR, AIM = 10.0, 8.0
"""KiB each (docs/performance.md)."""
COMPARED = ("sozu_trio", "floor", "nginx", "haproxy")
PATIENCE = 10
"""Seconds anything may take."""
SETTLE = 1
"""Seconds in which a relay does what it does once a request is over."""
REQUEST = f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes resident, of all processes: before the clients came, and with `clients` of them idle."""

    before: int
    after: int
    clients: int

    @property
    def each(self) -> float:
        """KiB."""
        return (self.after - self.before) / self.clients / 1024


def idle(clients: int = CLIENTS, *, as_markdown: bool = False) -> Outcome:
    """The proxy and others, one after the other. Raises ProcessTrouble, WrongAnswer."""
    raise_descriptor_limit()  # those that are started inherit it
    found: dict[str, Memory] = {}
    with tempfile.TemporaryDirectory(prefix="sozu_trio-bench-") as home, backend_serving(Path(home), b"") as backend:
        for name in COMPARED:
            with serving(PEERS[name], Path(home, name), backend) as (process, port):
                for _ in range(WARM_UP):
                    with crowd(port, 1):
                        pass
                time.sleep(SETTLE)
                before = process.rss()
                with crowd(port, clients) as socks:
                    time.sleep(SETTLE)
                    found[name] = Memory(before=before, after=process.rss(), clients=clients)
                    check(socks)
            say(f"{name}: {found[name].each:.2f} KiB for each of {clients:,} connections")
    how = f"{clients:,} connections that were answered once"
    print(report.section("idle", how, table(found), as_markdown=as_markdown), flush=True)
    ours = Row(what="idle: memory of a connection", figure=found["sozu_trio"].each, bar=BAR, aim=AIM, unit="KiB")
    return Outcome(rows=[ours], record={name: asdict(each) for name, each in found.items()})


@contextlib.contextmanager
def crowd(port: int, clients: int) -> Iterator[list[socket.socket]]:
    """Connections that have been answered once. Raises OSError, WrongAnswer.

    They come one after the other: all at once they would be turned away for overload.
    """
    socks: list[socket.socket] = []
    with contextlib.ExitStack() as stack:
        for _ in range(clients):
            socks.append(stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE)))
            ask(socks[-1])
        yield socks


def ask(sock: socket.socket) -> None:
    """One request and its answer. Raises OSError, WrongAnswer."""
    sock.sendall(REQUEST)
    answer = read_answer(sock, len(SMALL))
    if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(SMALL):
        raise WrongAnswer(f"a client was answered {answer[:200]!r}")


def check(socks: list[socket.socket]) -> None:
    """Raises WrongAnswer where one is not open any more, OSError."""
    for sock in socks:
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            raise WrongAnswer(f"an idle connection was closed, or told {sock.recv(100)!r}")
    socks[-1].settimeout(PATIENCE)
    ask(socks[-1])


def table(found: dict[str, Memory]) -> list[tuple[str, ...]]:
    return [
        ("relay", "KiB/connection", "MiB before", "MiB with them"),
        *(
            (name, f"{memory.each:.2f}", f"{memory.before / 2**20:.1f}", f"{memory.after / 2**20:.1f}")
            for name, memory in found.items()
        ),
    ]
