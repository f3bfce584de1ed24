"""Clients that arrive at a fixed rate, whatever becomes of those before them: an open loop, a connection each.

    python -m benchmarks.arrivals PORT RATE SECONDS FIRST_SOURCE [PATH]

connects to 127.0.0.1:PORT from the addresses 127.0.FIRST_SOURCE.1 and further, RATE times a second. With PATH each asks
for it once and waits for the end of the answer; without it they say nothing, and stay where they are let in. The
latency counts from when a client was to arrive. What became of them is one line of JSON, as `Outcome` has it; those who
stay leave when standard input ends. Used by tests/e2e/test_crowds.py.
"""

import errno
import json
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
    """What became of all who arrived: served (200), refused (503), held (still connected, without an answer), and what
    else, by name. `late`: milliseconds by which the slowest arrival was late, which is this program's own fault.
    """

    offered: int = 0
    served: Latencies = field(default_factory=Latencies)
    refused: Latencies = field(default_factory=Latencies)
    held: int = 0
    others: dict[str, int] = field(default_factory=dict)
    late: float = 0


class Arrivals:
    """Clients of one process."""

    def __init__(self, port: int, first_source: int, request: bytes) -> None:
        self._port = port
        self._request = request
        self._sources = [f"127.0.{first_source}.{number + 1}" for number in range(SOURCES)]
        self._poll = select.epoll()
        self._open: dict[int, tuple[socket.socket, float, bytearray]] = {}
        self._took: dict[bytes, list[float]] = {b"200": [], b"503": []}
        self._others: Counter[str] = Counter()
        self._late = 0.0
        self._offered = 0

    def run(self, rate: float, seconds: float) -> Outcome:
        """Have them arrive, and wait for what becomes of the last ones."""
        begun = time.monotonic()
        end = begun + seconds + SETTLE
        number = 0
        while (now := time.monotonic()) < end and (number < rate * seconds or not self._request or self._open):
            due = begun + number / rate
            while number < rate * seconds and due <= now + BUSY:
                self._late = max(self._late, now - due)
                self._arrive(due)
                number += 1
                due = begun + number / rate
            wait = (due if number < rate * seconds else end) - time.monotonic()
            for descriptor, _ in self._poll.poll(max(0, min(wait, 0.1))):
                self._hear(descriptor)
        return self._outcome()

    def _arrive(self, due: float) -> None:
        try:
            sock = socket.socket()
        except OSError as error:
            # So many are waiting for the proxy that there is no descriptor left for another one.
            self._offered += 1
            self._others[errno.errorcode[error.errno or 0]] += 1
            return
        sock.setblocking(False)
        # The port is chosen when it connects, as for another peer it may be the same.
        sock.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
        sock.bind((self._sources[self._offered % SOURCES], 0))
        self._offered += 1
        failed = sock.connect_ex(("127.0.0.1", self._port))
        if failed not in (0, errno.EINPROGRESS):
            self._others[errno.errorcode[failed]] += 1
            sock.close()
            return
        self._open[sock.fileno()] = sock, due, bytearray()
        awaited = select.EPOLLIN
        if self._request and not self._asks(sock):
            awaited = select.EPOLLOUT
        self._poll.register(sock, awaited)

    def _asks(self, sock: socket.socket) -> bool:
        """Whether it could send its request, which over loopback is nearly always at once."""
        try:
            sock.send(self._request)
        except OSError:
            return False
        return True

    def _hear(self, descriptor: int) -> None:
        sock, due, heard = self._open[descriptor]
        if not heard and self._request and _is_connected_late(sock, self._poll):
            self._asks(sock)
        try:
            data = sock.recv(65536)
        except BlockingIOError:
            return
        except OSError as error:
            self._end(descriptor, errno.errorcode[error.errno or 0])
            return
        heard += data
        if not data:
            self._took.get(bytes(heard[9:12]), []).append(time.monotonic() - due)
            self._end(descriptor, "" if bytes(heard[9:12]) in self._took else "closed")

    def _end(self, descriptor: int, other: str) -> None:
        sock, _, _ = self._open.pop(descriptor)
        self._poll.unregister(sock)
        sock.close()
        if other:
            self._others[other] += 1

    def _outcome(self) -> Outcome:
        return Outcome(
            offered=self._offered,
            served=latencies(self._took[b"200"]),
            refused=latencies(self._took[b"503"]),
            held=len(self._open),
            others=dict(self._others),
            late=self._late * 1000,
        )

    def leave(self) -> None:
        """All who are connected."""
        for sock, _, _ in self._open.values():
            sock.close()
        self._poll.close()


def _is_connected_late(sock: socket.socket, poll: select.epoll) -> bool:
    """Whether its request is still to be sent; answers are awaited from now on."""
    try:
        sock.getpeername()
    except OSError:
        return False
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        poll.modify(sock, select.EPOLLIN)
        return True
    except OSError:
        pass
    return False


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
    fields = "Host: localhost\r\nConnection: close"
    request = b"".join(f"GET {path} HTTP/1.1\r\n{fields}\r\n\r\n".encode() for path in sys.argv[5:])
    raise_descriptor_limit()
    arrivals = Arrivals(port, first_source, request)
    print(json.dumps(asdict(arrivals.run(rate, seconds))), flush=True)
    sys.stdin.read()
    arrivals.leave()


if __name__ == "__main__":
    main()
