"""What each subcommand of `scripts/bench` does."""

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import bars, certificates, state, tls
from benchmarks.bars import Row
from benchmarks.changes import changes
from benchmarks.comparisons import AIMS, BARS, OURS, works_of
from benchmarks.idle import idle
from benchmarks.measure import Work
from benchmarks.peers import CLUSTERS, HOST, PEERS, SMALL, installed, many_hosts, sozu_trio
from benchmarks.rounds import Outcome, measured, show
from benchmarks.routes import look_up
from benchmarks.upgrade import upgrade
from benchmarks.workers import workers

BIG = 10 << 20
FEW, MANY = "10 hosts", "10,000 hosts"
SEALED, OPEN = "sealed", "open"
SANDBOX_BAR = 1.08
"""CPU per request with every layer of the sandbox may be this many times that without any."""
HOSTS_BAR = 1.1
"""CPU per request among 10,000 hosts may be this many times that among 10 (docs/performance.md)."""


def compare(options: argparse.Namespace) -> Outcome:
    """The proxy beside its references."""
    installed("wrk")
    peers = {name: PEERS[name] for name in options.only if name not in options.without}
    rows: list[Row] = []
    big, records = os.urandom(BIG), {}
    for name, work in works_of(options.work, big).items():
        rounds = measured(peers, work, big, options)
        records[name] = show(name, rounds, OURS, work, options)
        rows += bars.against(rounds, OURS, BARS[options.work], name, AIMS.get(options.work))
    return Outcome(rows=rows, record=records)


def routes(options: argparse.Namespace) -> Outcome:
    """The look-up by itself, then the proxy among few and among many hosts, ten of which are asked for in turn."""
    installed("wrk")
    alone = look_up(as_markdown=options.markdown)
    asked = many_hosts(10)
    peers = {FEW: sozu_trio(asked), MANY: sozu_trio(many_hosts(10_000))}
    work = Work(path="/", connections=64, body=SMALL, hosts=asked)
    rounds = measured(peers, work, b"", options)
    record = show("routes", rounds, MANY, work, options)
    return Outcome(rows=[*alone, *bars.against(rounds, MANY, {FEW: HOSTS_BAR}, "routes")], record=record)


def sandbox(options: argparse.Namespace) -> Outcome:
    """The proxy with sealed workers, and with open ones."""
    installed("wrk")
    hosts = many_hosts(CLUSTERS)
    peers = {SEALED: sozu_trio(hosts, sandbox="require"), OPEN: sozu_trio(hosts, sandbox="off")}
    work = Work(path="/", connections=64, body=SMALL, hosts=(HOST,))
    rounds = measured(peers, work, b"", options)
    record = show("sandbox", rounds, SEALED, work, options)
    return Outcome(rows=bars.against(rounds, SEALED, {OPEN: SANDBOX_BAR}, "sandbox"), record=record)


def secure(options: argparse.Namespace) -> Outcome:
    """The proxy beside nginx over TLS, one kind of work after the other."""
    installed("wrk")
    rows: list[Row] = []
    certificate, big, records = tls.Certificate(options.key), os.urandom(BIG), {}
    peers, works = tls.peers(certificate), tls.works(certificate.trusting, big)
    for name in options.only:
        rounds = measured(peers, works[name], big, options)
        records[name] = show(f"tls {name}", rounds, OURS, works[name], options)
        rows += bars.against(rounds, OURS, {"nginx": tls.BARS[name]}, f"tls {name}", tls.AIMS.get(name))
    return Outcome(rows=rows, record=records)


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """A subcommand. `rounds`: how often it measures each relay unless told otherwise; 0: it has no rounds."""

    what: str
    run: Callable[[argparse.Namespace], Outcome]
    rounds: int = 3


BENCHMARKS = {
    "small": Benchmark(what="34-byte answers, 64 keep-alive connections", run=compare),
    "browser": Benchmark(what="the same, asked for with a browser's 13 header fields, no two alike", run=compare),
    "bulk": Benchmark(what="10 MiB answers, 4 connections", run=compare),
    "upload": Benchmark(what="10 MiB uploads with Content-Length and chunked, 4 connections", run=compare),
    "connections": Benchmark(what="34-byte answers, a new TCP connection for each, 16 clients", run=compare),
    "idle": Benchmark(
        what="memory of 8,000 idle keep-alive connections",
        run=lambda options: idle(options.clients, as_markdown=options.markdown),
        rounds=0,
    ),
    "tls": Benchmark(what="TLS to the client: 34-byte and 10 MiB answers, full and resumed handshakes", run=secure),
    "routes": Benchmark(what="look-up among many hosts: by itself, then through the proxy", run=routes),
    "workers": Benchmark(what="two workers beside one: CPU per request, 256 connections spread", run=workers),
    "sandbox": Benchmark(what="sealed workers beside open ones, small answers", run=sandbox, rounds=10),
    "changes": Benchmark(what="latencies while changes stream in, beside those without", run=changes),
    "upgrade": Benchmark(
        what="one upgrade under load: the slowest request beside that without",
        run=lambda options: upgrade(as_markdown=options.markdown),
        rounds=0,
    ),
    "state": Benchmark(
        what="10,000 clusters: from the file, from the journal, and one change to them",
        run=lambda options: Outcome(rows=state.rows()),
        rounds=0,
    ),
    "certificates": Benchmark(
        what="5,000 certificates: at a start, by reload, by apply, and in use",
        run=lambda options: Outcome(rows=certificates.rows()),
        rounds=0,
    ),
}
