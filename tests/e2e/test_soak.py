"""A drill: everything at once for a while. Nothing fails, and memory and descriptors are what they were."""

import collections
import contextlib
import http.client
import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import pytest

from benchmarks.ports import free_port
from tests.e2e.clients import PATIENCE, connect
from tests.e2e.configurations import both_proxies
from tests.e2e.parts import Nginx, Proxy, Redis, StartProxy, wait_until
from tests.e2e.servers import serving
from tests.e2e.websocket import open_websocket, serve_echo

MEBIBYTE = 1 << 20
ROUNDS = 20
"""Things each client does on one connection before it opens another."""
LEFT_OVER = 16 + 8
"""Descriptors that may have come: pipes kept for splicing, and connections to backends kept for reuse."""
QUIET = 'access_logs_target = "file:///dev/null"'


@dataclass(frozen=True)
class Look:
    """What there is to see of a proxy at a moment."""

    done: int
    """What its clients have done so far."""
    cpu: float
    """Seconds it has taken for that."""
    rss: int


def look(proxy: Proxy, clients: "Clients") -> Look:
    return Look(sum(clients.done.values()), proxy.process.cpu_seconds(), proxy.rss())


@pytest.mark.drill
def test_soak(nginx: Nginx, redis_server: Redis, start_proxy: StartProxy, *, full_drill: bool) -> None:
    """Ten minutes: memory within 5 % and CPU within 10 % between the second and the last."""
    periods, seconds = (10, 60) if full_drill else (3, 1)
    nginx.files.joinpath("page").write_bytes(bytes(20_000))
    with serving(serve_echo) as echo:
        http, tcp, redis = free_port(), free_port(), redis_server.port
        proxy = start_proxy(both_proxies(http, tcp, web=nginx.port, echo=echo, relay=redis, before=QUIET))
        resting = proxy.descriptors()
        with Clients(proxy) as clients:
            looks = [look(proxy, clients)]
            for _ in range(periods):
                time.sleep(seconds)  # how long it runs is the drill
                looks.append(look(proxy, clients))
                print(told(looks), flush=True)
        print(f"soak of {periods * seconds} s: {dict(clients.done)}; {proxy.descriptors()} descriptors")
        assert clients.failures == []
        assert min(clients.done[name] for name in ("get", "upload", "websocket", "tcp")) > 0
        if full_drill:
            assert looks[-1].rss <= 1.05 * looks[2].rss
            assert cost(*looks[-2:]) <= 1.1 * cost(*looks[1:3])
        else:
            assert looks[-1].rss - looks[1].rss < 16 * MEBIBYTE
        wait_until(lambda: proxy.descriptors() <= resting + LEFT_OVER)


def cost(before: Look, after: Look) -> float:
    """Seconds of CPU for each thing that was done in between."""
    return (after.cpu - before.cpu) / (after.done - before.done)


def told(looks: list[Look]) -> str:
    before, after = looks[-2:]
    return (
        f"period {len(looks) - 1}: {after.done - before.done:,} things done for {cost(before, after) * 1e6:,.0f} µs of "
        f"CPU each; {after.rss / MEBIBYTE:.1f} MiB"
    )


class Clients:
    """Clients of every kind, each in a thread, while the body runs; then what they did, and what failed."""

    def __init__(self, proxy: Proxy) -> None:
        http, tcp = proxy.ports
        kinds = {
            "get": (4, lambda number: get_pages(http)),
            "upload": (2, lambda number: upload(http, f"/upload-{number}")),
            "websocket": (2, lambda number: exchange_messages(http)),
            "tcp": (2, lambda number: set_and_get(tcp, number)),
        }
        self.done: collections.Counter[str] = collections.Counter()
        self.failures: list[str] = []
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._repeat, args=(name, work, number))
            for name, (count, work) in kinds.items()
            for number in range(count)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _repeat(self, name: str, work: Callable[[int], Iterator[None]], number: int) -> None:
        while not self._over.is_set():
            try:
                for _ in work(number):
                    self.done[name] += 1
            except Exception as error:
                self.failures.append(f"{name}: {error!r}")


def get_pages(port: int) -> Iterator[None]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as client:
        for _ in range(ROUNDS):
            client.request("GET", "/page")
            response = client.getresponse()
            assert (response.status, len(response.read())) == (200, 20_000)
            yield


def upload(port: int, target: str) -> Iterator[None]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as client:
        for chunked in (False, True) * 2:
            body = random.randbytes(MEBIBYTE)
            client.request("PUT", target, iter([body[:1000], body[1000:]]) if chunked else body, encode_chunked=chunked)
            response = client.getresponse()
            response.read()
            assert response.status in {201, 204}
            client.request("GET", target)
            assert client.getresponse().read() == body
            yield


def exchange_messages(port: int) -> Iterator[None]:
    with open_websocket(port, "/echo") as client:
        for _ in range(ROUNDS):
            message = random.randbytes(random.randrange(65536))
            client.send_message(message)
            assert client.receive() == message
            yield
        client.close(1000, "enough")
        assert client.receive() is None


def set_and_get(port: int, number: int) -> Iterator[None]:
    with connect(port) as client:
        for _ in range(ROUNDS):
            value = random.randbytes(random.randrange(1, 262144))
            client.sendall(b"*3\r\n$3\r\nSET\r\n$1\r\n%d\r\n$%d\r\n%b\r\n" % (number, len(value), value))
            client.sendall(b"*2\r\n$3\r\nGET\r\n$1\r\n%d\r\n" % number)
            wanted = b"+OK\r\n$%d\r\n%b\r\n" % (len(value), value)
            received = bytearray()
            while len(received) < len(wanted) and (data := client.recv(MEBIBYTE)):
                received += data
            assert received == wanted
            yield
