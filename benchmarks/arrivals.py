"""Clients that arrive at a fixed rate, whatever becomes of those before them: an open loop, a connection each.

    python -m benchmarks.arrivals PORT RATE SECONDS FIRST_SOURCE [PATH [TIMES]]

connects to 127.0.0.1:PORT from the addresses 127.0.FIRST_SOURCE.1 and further, RATE times a second. With PATH each asks
for it TIMES, or once, each time when it has the answer before; without it they say nothing, and stay where they are let
in. The latency of the first answer counts from when the client was to arrive. What became of them is one line of JSON,
as `Outcome` has it; those who stay leave when standard input ends. Used by tests/e2e/test_crowds.py.
"""

import errno
import json
import re
import select
import socket
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Final

from sozu_trio.config.descriptors import raise_descriptor_limit

SOURCES: Final = 8
"""Addresses that clients come from: one has 28,000 ports, and each is busy for a minute."""
SETTLE: Final = 3.0
"""Seconds after the last arrival for answers to come."""
MOST: Final = 65536
"""Bytes of an answer that are read at once."""
LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length: ([0-9]+)")
ANSWERED: Final = select.EPOLLIN | select.EPOLLRDHUP
BUSY: Final = 0.0005
"""Seconds by which an arrival may come early: to wait for less costs as much as to go on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Latencies:
    """Of some answers, in milliseconds; 0 where there are none."""

    number: int = 0
    p50: float = 0
    p99: float = 0
    longest: float = 0


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of all who arrived: answers that served (200) or refused (503), how many are held (still connected,
    without an answer), and what else, by name. `in_time`: how many answers served while others still arrived, which is
    what can be compared: with those after them a short crowd beyond what can be done looks like more than that. `late`:
    milliseconds by which the slowest arrival was late, which is this program's own fault.
    """

    offered: int = 0
    served: Latencies = field(default_factory=Latencies)
    refused: Latencies = field(default_factory=Latencies)
    held: int = 0
    others: dict[str, int] = field(default_factory=dict)
    in_time: int = 0
    late: float = 0


@dataclass(slots=True)
class Client:
    """One that has arrived."""

    sock: socket.socket
    since: float
    """When it was to arrive, or asked last."""
    left: int
    """Times it is going to ask after this time."""
    heard: bytes = b""
    """Of an answer whose end is still to come."""


class Arrivals:
    """Clients of one process."""

    def __init__(self, port: int, first_source: int, path: str, times: int) -> None:
        """`path`: what each asks for so many times; empty where they say nothing."""
        self._port = port
        self._request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() if path else b""
        self._last_request = self._request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")
        self._times = times
        self._sources = [f"127.0.{first_source}.{number + 1}" for number in range(SOURCES)]
        self._poll = select.epoll()
        self._open: dict[int, Client] = {}
        self._took: dict[bytes, list[float]] = {b"200": [], b"503": []}
        self._others: Counter[str] = Counter()
        self._late = 0.0
        self._until = 0.0
        """When the last one arrives, by the clock."""
        self._in_time = 0
        self._offered = 0

    def run(self, rate: float, seconds: float) -> Outcome:
        """Have them arrive, and wait for what becomes of the last ones."""
        begun = time.monotonic()
        self._until = begun + seconds
        end = self._until + SETTLE
        number = 0
        while (now := time.monotonic()) < end and (number < rate * seconds or not self._request or self._open):
            due = begun + number / rate
            while number < rate * seconds and due <= now + BUSY:
                self._late = max(self._late, now - due)
                self._arrive(due)
                number += 1
                due = begun + number / rate
            wait = (due if number < rate * seconds else end) - time.monotonic()
            for descriptor, events in self._poll.poll(max(0, min(wait, 0.1))):
                self._hear(descriptor, events)
        return self._outcome()

    def _arrive(self, due: float) -> None:
        try:
            sock = socket.socket(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        except OSError as error:
            # So many are waiting for the proxy that there is no descriptor left for another one.
            self._offered += 1
            self._others[errno.errorcode[error.errno or 0]] += 1
            return
        # The port is chosen when it connects, as for another peer it may be the same.
        sock.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
        sock.bind((self._sources[self._offered % SOURCES], 0))
        self._offered += 1
        failed = sock.connect_ex(("127.0.0.1", self._port))
        if failed not in (0, errno.EINPROGRESS):
            self._others[errno.errorcode[failed]] += 1
            sock.close()
            return
        client = self._open[sock.fileno()] = Client(sock, due, self._times - 1)
        awaited = ANSWERED
        if self._request and not self._asks(client):
            awaited = select.EPOLLOUT
        self._poll.register(sock, awaited)

    def _asks(self, client: Client) -> bool:
        """Whether it could send its request, which over loopback is nearly always at once."""
        try:
            client.sock.send(self._request if client.left else self._last_request)
        except OSError:
            return False
        return True

    def _hear(self, descriptor: int, events: int) -> None:
        client = self._open[descriptor]
        if events & select.EPOLLOUT:
            self._poll.modify(client.sock, ANSWERED)
            self._asks(client)
        try:
            data = client.sock.recv(MOST)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(descriptor, errno.errorcode[error.errno or 0])
            return
        heard = client.heard = client.heard + data
        # The last of it and the end mostly come together, and need not be asked for twice.
        if not data or (len(data) < MOST and events & select.EPOLLRDHUP):
            self._end(descriptor, "" if self._answered(client) else "closed")
        elif client.left and is_whole(heard):
            self._answered(client)
            client.left -= 1
            self._asks(client)

    def _answered(self, client: Client) -> bool:
        """Whether it was; what comes next is another answer."""
        status, now = client.heard[9:12], time.monotonic()
        self._took.get(status, []).append(now - client.since)
        self._in_time += status == b"200" and now <= self._until
        client.heard, client.since = b"", now
        return status in self._took

    def _end(self, descriptor: int, other: str) -> None:
        self._open.pop(descriptor).sock.close()  # Which also takes it out of the set.
        if other:
            self._others[other] += 1

    def _outcome(self) -> Outcome:
        return Outcome(
            offered=self._offered,
            served=latencies(self._took[b"200"]),
            refused=latencies(self._took[b"503"]),
            held=len(self._open),
            others=dict(self._others),
            in_time=self._in_time,
            late=self._late * 1000,
        )

    def leave(self) -> None:
        """All who are connected."""
        for client in self._open.values():
            client.sock.close()
        self._poll.close()


def is_whole(answer: bytes) -> bool:
    """Whether all of a response with Content-Length is there."""
    head, end, body = answer.partition(b"\r\n\r\n")
    length = LENGTH.search(head)
    return bool(end) and length is not None and len(body) >= int(length[1])


def latencies(seconds: list[float]) -> Latencies:
    """Of answers that took so long."""
    if not seconds:
        return Latencies()
    ordered = sorted(each * 1000 for each in seconds)
    at = len(ordered)
    return Latencies(number=at, p50=ordered[at // 2], p99=ordered[int(at * 0.99)], longest=ordered[-1])


def main() -> None:
    """Print what became of them."""
    port, rate, seconds, first_source = int(sys.argv[1]), *map(float, sys.argv[2:4]), int(sys.argv[4])
    path = sys.argv[5] if len(sys.argv) > 5 else ""
    times = sys.argv[6] if len(sys.argv) > 6 else "1"
    raise_descriptor_limit()
    arrivals = Arrivals(port, first_source, path, int(times))
    print(json.dumps(asdict(arrivals.run(rate, seconds))), flush=True)
    sys.stdin.read()
    arrivals.leave()


if __name__ == "__main__":
    main()
