"""run.py small|bulk|tls|routes|sandbox|state|certificates [options] — the benchmarks; `scripts/bench` calls it.

Rounds are interleaved: each relay once, then each once more, so that a machine that slows down does so for all of them.
Progress goes to standard error, the result to standard output. Exit code 1: wrong answer, failed relay, missed bar.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks import certificates, report, state, tls
from benchmarks.handshakes import load_anew
from benchmarks.measure import Figures, Work, WrongAnswer, load_kept, measure
from benchmarks.peers import (
    CLUSTERS,
    HERE,
    HOST,
    PEERS,
    SMALL,
    Peer,
    backend_serving,
    installed,
    many_hosts,
    serving,
    sozu_trio,
)
from benchmarks.processes import ProcessTrouble

BIG = 10 << 20
OURS = "sozu_trio"
COMPARED = {
    "small": (OURS, "floor", "h11", "nginx", "haproxy"),
    "bulk": (OURS, "splice", "copy", "nginx", "nginx-tuned", "haproxy", "haproxy-tuned"),
}
FEW, MANY = "10 hosts", "10,000 hosts"
SEALED, OPEN = "sealed", "open"
SANDBOX_ROUNDS, SANDBOX_BAR = 10, 1.08
"""CPU per request with every layer of the sandbox may be this many times that without any, by the median of so many."""
HOSTS_BAR = 1.1
"""CPU per request among 10,000 hosts may be this many times that among 10 (docs/performance.md)."""


def main() -> None:
    options = command_line()
    try:
        if options.work == "state":
            return state.main()
        if options.work == "certificates":
            return certificates.main()
        installed("wrk")
        if options.work == "routes":
            routes(options)
        elif options.work == "sandbox":
            sandbox(options)
        elif options.work == "tls":
            secure(options)
        else:
            compare(options)
    except (ProcessTrouble, WrongAnswer) as error:
        raise SystemExit(f"benchmark failed: {error}") from error


def command_line() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="CPU per request, beside references in the same run."
    )
    works = parser.add_subparsers(
        dest="work", required=True, metavar="small|bulk|tls|routes|sandbox|state|certificates"
    )
    works.add_parser("small", help="34-byte answers, 64 keep-alive connections")
    works.add_parser("bulk", help="10 MiB answers, 4 connections")
    works.add_parser("tls", help="TLS to the client: 34-byte and 10 MiB answers, full and resumed handshakes")
    works.add_parser("routes", help="look-up among many hosts: by itself, then through the proxy")
    works.add_parser("sandbox", help="sealed workers beside open ones, small answers")
    timed = dict(works.choices)
    works.add_parser("state", help="10,000 clusters: from the file, from the journal, and one change to them")
    works.add_parser("certificates", help="5,000 certificates: at a start, by reload, by apply, and in use")
    for name, work in timed.items():
        rounds = SANDBOX_ROUNDS if name == "sandbox" else 3
        work.add_argument("--rounds", type=positive, default=rounds, help=f"how often each is measured ({rounds})")
        work.add_argument("--seconds", type=positive, default=4, help="length of one measurement (4)")
        work.add_argument("--markdown", action="store_true", help="print a Markdown table")
        work.add_argument("--json", type=Path, metavar="FILE", help="write every figure there too")
        if name in COMPARED:
            known = COMPARED[name]
            work.add_argument(
                "--only", type=names_among(known), default=known, metavar="A,B", help=f"of {', '.join(known)}"
            )
            work.add_argument("--without", type=names_among(known), default=(), metavar="A,B", help="leave these out")
    known = tuple(tls.BARS)
    of_tls = works.choices["tls"]
    of_tls.add_argument("--only", type=names_among(known), default=known, metavar="A,B", help=f"of {', '.join(known)}")
    of_tls.add_argument("--key", choices=tls.KEYS, default="ecdsa", help="kind of the certificate's key (ecdsa)")
    return parser.parse_args()


def positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def names_among(known: tuple[str, ...]) -> Callable[[str], tuple[str, ...]]:
    def names(text: str) -> tuple[str, ...]:
        chosen = tuple(text.split(","))
        for name in chosen:
            if name not in known:
                raise argparse.ArgumentTypeError(f"{name!r} is none of {', '.join(known)}")
        return chosen

    return names


def compare(options: argparse.Namespace) -> None:
    """small and bulk: the proxy beside its references."""
    peers = {name: PEERS[name] for name in options.only if name not in options.without}
    big = os.urandom(BIG)
    small_or_bulk = {
        "small": Work(path="/", connections=64, body=SMALL, hosts=(HOST,)),
        "bulk": Work(path="/big", connections=4, body=big, hosts=(HOST,)),
    }
    work = small_or_bulk[options.work]
    rounds = measured(peers, work, big, options)
    show(rounds, OURS, work, options)
    keep(rounds, OURS, work, options)


def routes(options: argparse.Namespace) -> None:
    """The look-up by itself, then the proxy among few and among many hosts, ten of which are asked for in turn."""
    if subprocess.run([sys.executable, str(HERE / "routes.py")], check=False).returncode:
        raise SystemExit("benchmark failed: routes.py")
    asked = many_hosts(10)
    peers = {FEW: sozu_trio(asked), MANY: sozu_trio(many_hosts(10_000))}
    work = Work(path="/", connections=64, body=SMALL, hosts=asked)
    rounds = measured(peers, work, b"", options)
    show(rounds, MANY, work, options)
    keep(rounds, MANY, work, options)
    found = report.ratio(rounds, MANY, FEW)
    if found and found.median > HOSTS_BAR:
        raise SystemExit(
            f"bar missed: CPU among {MANY} is {found.median:.2f} × that among {FEW}, want at most {HOSTS_BAR}"
        )


def sandbox(options: argparse.Namespace) -> None:
    """The proxy with sealed workers, and with open ones."""
    hosts = many_hosts(CLUSTERS)
    peers = {SEALED: sozu_trio(hosts, sandbox="require"), OPEN: sozu_trio(hosts, sandbox="off")}
    work = Work(path="/", connections=64, body=SMALL, hosts=(HOST,))
    rounds = measured(peers, work, b"", options)
    show(rounds, SEALED, work, options)
    keep(rounds, SEALED, work, options)
    found = report.ratio(rounds, SEALED, OPEN)
    if found and found.median > SANDBOX_BAR:
        raise SystemExit(f"bar missed: CPU is {found.median:.2f} × that of open workers, want at most {SANDBOX_BAR}")


def secure(options: argparse.Namespace) -> None:
    """The proxy beside nginx over TLS, one kind of work after the other."""
    certificate, big, missed, records = tls.Certificate(options.key), os.urandom(BIG), [], {}
    peers, works = tls.peers(certificate), tls.works(certificate.trusting, big)
    for name in options.only:
        print(f"{name}: ", end="")
        rounds = measured(peers, works[name], big, options)
        show(rounds, OURS, works[name], options)
        print(flush=True)
        records[name] = report.as_record(rounds, OURS, works[name], options.seconds)
        found = report.ratio(rounds, OURS, "nginx")
        if found and found.median > tls.BARS[name]:
            missed.append(f"{name}: CPU is {found.median:.2f} × nginx's, want at most {tls.BARS[name]:g}")
    if options.json:
        options.json.write_text(json.dumps(records, indent=2))
    if missed:
        raise SystemExit("\n".join(f"bar missed: {each}" for each in missed))


def measured(peers: Mapping[str, Peer], work: Work, big: bytes, options: argparse.Namespace) -> report.Rounds:
    """Every peer's figures, round by round. Raises ProcessTrouble, WrongAnswer."""
    rounds: dict[str, list[Figures]] = {name: [] for name in peers}
    load = load_anew if work.anew else load_kept
    with tempfile.TemporaryDirectory(prefix="sozu_trio-bench-") as home, backend_serving(Path(home), big) as backend:
        for number in range(1, options.rounds + 1):
            for name, peer in peers.items():
                with serving(peer, Path(home, f"{number}-{name}".replace(" ", "-")), backend) as (process, port):
                    figures = measure(process, port, work, options.seconds, load)
                say(f"round {number} of {options.rounds}: {name}: {figures.cpu:,.1f} µs CPU per request")
                rounds[name].append(figures)
    return rounds


def show(rounds: report.Rounds, subject: str, work: Work, options: argparse.Namespace) -> None:
    rows = report.table(rounds, subject)
    print(f"{len(work.body):,} bytes, {work.connections} connections, {options.rounds} × {options.seconds} s")
    print(report.machine())
    print()
    print(report.markdown(rows) if options.markdown else report.aligned(rows))


def keep(rounds: report.Rounds, subject: str, work: Work, options: argparse.Namespace) -> None:
    if options.json:
        options.json.write_text(json.dumps(report.as_record(rounds, subject, work, options.seconds), indent=2))


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
