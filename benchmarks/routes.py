"""What finding a route costs among 10, 1,000 and 10,000 hosts, and compiling a table of 10,000: no sockets, one thread.

Each look-up goes through all hosts in a shuffled order, so that the processor's caches are no better than in service.
Run it as `python benchmarks/routes.py`; docs/performance.md has the bar (3 µs).
"""

import random
import statistics
import time
from collections.abc import Callable, Sequence

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend
from sozu_trio.config.listeners import HttpListener
from sozu_trio.routing.compile import compile_table
from sozu_trio.routing.state import State, declare
from sozu_trio.routing.table import Outcome

ADDRESS = Address("127.0.0.1", 8080)
SIZES = (10, 1_000, 10_000)
ROUNDS = 7
LOOKUPS = 20_000
PREFIXES = 20

Hostname = Callable[[int], str]
Request = tuple[bytes, bytes]


def exact(number: int) -> str:
    return f"app-{number}.example.com"


def wildcard(number: int) -> str:
    return f"*.tenant-{number}.example.com"


def regex(number: int) -> str:
    return f"/cdn[0-9]+/.tenant-{number}.example.com"


def make_state(hosts: int, hostname: Hostname, prefixes: int) -> State:
    """`hosts` clusters of one backend; each host leads to its own by `prefixes` paths, the shortest of them empty."""
    clusters = [Cluster(cluster_id=f"c{n}", protocol="http") for n in range(hosts)]
    backends = [
        Backend(cluster_id=f"c{n}", backend_id=f"b{n}", address=Address("127.0.0.1", 9000)) for n in range(hosts)
    ]
    frontends = [
        HttpFrontend(address=ADDRESS, hostname=hostname(n), path=f"/part-{p}/" if p else "", cluster_id=f"c{n}")
        for n in range(hosts)
        for p in range(prefixes)
    ]
    return declare([HttpListener(address=ADDRESS)], clusters, frontends, [], backends)


def make_requests(hosts: int, hostname: Hostname, prefixes: int) -> list[Request]:
    """LOOKUPS pairs of host and path, each a value of its own, as out of a parser."""
    concrete = {"*": "www", "/cdn[0-9]+/": "cdn7"}
    requests = []
    for number in random.Random(0).choices(range(hosts), k=LOOKUPS):
        first, _, suffix = hostname(number).partition(".")
        path = f"/part-{number % prefixes}/page-{number}/index.html"
        requests.append((f"{concrete.get(first, first)}.{suffix}".encode(), path.encode()))
    return requests


def time_lookups(find: Callable[[bytes, bytes, bytes], object], requests: Sequence[Request]) -> float:
    """Microseconds per look-up, the loop around it included; the median of ROUNDS."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for host, path in requests:
            find(host, path, b"GET")
        rounds.append((time.perf_counter() - start) / len(requests) * 1e6)
    return statistics.median(rounds)


def bench_lookups(name: str, hostname: Hostname, prefixes: int) -> None:
    times = []
    for hosts in SIZES:
        routes = compile_table(make_state(hosts, hostname, prefixes), 1).http[ADDRESS]
        requests = make_requests(hosts, hostname, prefixes)
        if any(routes.find(*request, b"GET").outcome is not Outcome.FORWARD for request in requests):
            raise SystemExit(f"{name}: a request found no route, so the figures would mean nothing")
        times.append(time_lookups(routes.find, requests))
    print(f"{name:<32}" + "".join(f"{microseconds:>10.2f}" for microseconds in times))


def bench_compile() -> None:
    state = make_state(SIZES[-1], exact, 1)
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        compile_table(state, 1)
        rounds.append((time.perf_counter() - start) * 1e3)
    print(f"compiling a table of {SIZES[-1]:,} hosts: {statistics.median(rounds):.0f} ms")


def main() -> None:
    print(f"{'µs per look-up':<32}" + "".join(f"{hosts:>10,}" for hosts in SIZES) + "   hosts")
    bench_lookups("exact host", exact, 1)
    bench_lookups(f"exact host, {PREFIXES} path prefixes", exact, PREFIXES)
    bench_lookups("*.suffix", wildcard, 1)
    bench_lookups("/regex/.suffix", regex, 1)
    bench_compile()


if __name__ == "__main__":
    main()
