"""What finding a route costs among 10, 1,000 and 10,000 hosts, and compiling a table of 10,000: no sockets, one thread.

Each look-up goes through all hosts in a shuffled order, so that the processor's caches are no better than in service.
`scripts/bench routes` begins with it.
"""

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence

from benchmarks import report
from benchmarks.bars import Row
from benchmarks.measure import WrongAnswer
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
LOOK_UP_BAR = 3.0
"""µs among the most hosts (docs/performance.md)."""

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
    """Microseconds of CPU per look-up, the loop around it included; the median of ROUNDS."""
    rounds = []
    for _ in range(ROUNDS):
        start = time.thread_time()
        for host, path in requests:
            find(host, path, b"GET")
        rounds.append((time.thread_time() - start) / len(requests) * 1e6)
    return statistics.median(rounds)


def bench_lookups(name: str, hostname: Hostname, prefixes: int) -> list[float]:
    """µs of CPU among each of SIZES. Raises WrongAnswer."""
    times = []
    for hosts in SIZES:
        routes = compile_table(make_state(hosts, hostname, prefixes), 1).http[ADDRESS]
        requests = make_requests(hosts, hostname, prefixes)
        if any(routes.find(*request, b"GET").outcome is not Outcome.FORWARD for request in requests):
            raise WrongAnswer(f"{name}: a request found no route, so the figures would mean nothing")
        times.append(time_lookups(routes.find, requests))
    return times


def bench_compile() -> str:
    """Says how long it takes."""
    state = make_state(SIZES[-1], exact, 1)
    rounds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        compile_table(state, 1)
        rounds.append((time.perf_counter() - start) * 1e3)
    return f"compiling a table of {SIZES[-1]:,} hosts takes {statistics.median(rounds):.0f} ms"


def look_up(*, as_markdown: bool = False) -> list[Row]:
    """Print the table of all sizes; the figures of the largest beside their bar. Raises WrongAnswer."""
    times = {name: bench_lookups(name, hostname, prefixes) for name, (hostname, prefixes) in KINDS.items()}
    print(report.section("look-up alone", bench_compile(), table(times), as_markdown=as_markdown), flush=True)
    return [
        Row(what=f"routes: look-up among {SIZES[-1]:,}, {name}", figure=found[-1], bar=LOOK_UP_BAR, unit="µs")
        for name, found in times.items()
    ]


def table(times: Mapping[str, Sequence[float]]) -> list[tuple[str, ...]]:
    """Headings, then a row for each kind of rule, as many figures as SIZES."""
    heading = ("CPU µs per look-up", *(f"{hosts:,} hosts" for hosts in SIZES))
    return [heading, *((name, *(f"{each:.2f}" for each in found)) for name, found in times.items())]


KINDS: dict[str, tuple[Hostname, int]] = {
    "exact host": (exact, 1),
    f"exact host, {PREFIXES} path prefixes": (exact, PREFIXES),
    "*.suffix": (wildcard, 1),
    "/regex/.suffix": (regex, 1),
}
"""Rules: their hosts, and the paths of each."""
