"""Rounds of a run: each relay once, then each once more, so that a machine that slows down does so for all of them.

Progress goes to standard error, tables to standard output.
"""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.bars import Row
from benchmarks.connections import load_opened
from benchmarks.handshakes import load_anew
from benchmarks.measure import Figures, Load, Work, load_kept, measure
from benchmarks.peers import Peer, backend_receiving, backend_serving, serving
from benchmarks.uploads import load_uploads


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a benchmark found: figures that have a bar, and every figure as JSON takes it."""

    rows: list[Row]
    record: dict[str, Any] = field(default_factory=dict)
    failed: tuple[str, ...] = ()
    """What could not be measured, and why."""


def measured(peers: Mapping[str, Peer], work: Work, big: bytes, options: argparse.Namespace) -> report.Rounds:
    """Every peer's figures, round by round. Raises ProcessTrouble, WrongAnswer."""
    rounds: dict[str, list[Figures]] = {name: [] for name in peers}
    with (
        tempfile.TemporaryDirectory(prefix="sozu_trio-bench-") as home,
        backend_receiving(Path(home)) if work.sent else backend_serving(Path(home), big) as backend,
    ):
        for number in range(1, options.rounds + 1):
            for name, peer in peers.items():
                with serving(peer, Path(home, f"{number}-{name}".replace(" ", "-")), backend) as (process, port):
                    figures = measure(process, port, work, options.seconds, load, quiet=peer.rests)
                say(f"round {number} of {options.rounds}: {name}: {figures.cpu:,.1f} µs CPU per request")
                rounds[name].append(figures)
    return rounds


def load(port: int, work: Work, seconds: int) -> Load:
    """By the generator that can do `work`. Raises WrongAnswer."""
    match work.anew:
        case "":
            return load_uploads(port, work, seconds) if work.sent else load_kept(port, work, seconds)
        case "plain":
            return load_opened(port, work, seconds)
        case "full" | "resumed":
            return load_anew(port, work, seconds)


def show(name: str, rounds: report.Rounds, subject: str, work: Work, options: argparse.Namespace) -> dict[str, Any]:
    """Print the table; every figure of it as JSON takes it."""
    rows = report.table(rounds, subject)
    how = f"{work.size:,} bytes, {work.connections} connections, {options.rounds} × {options.seconds} s"
    print(report.section(name, how, rows, as_markdown=options.markdown), flush=True)
    return report.as_record(rounds, subject, work, options.seconds)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
