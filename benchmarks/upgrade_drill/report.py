"""From what a drill has seen to what is printed: what was lost, a table, JSON."""

import json
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict

from benchmarks.upgrade_drill.drill import Outcome
from benchmarks.upgrade_drill.watching import Sample

MEBIBYTE = 1 << 20
MORE_DESCRIPTORS = 128
"""That each worker may have come to: up to 64 for splicing, and 64 connections to backends kept for reuse."""
MORE_OF_MAIN = 2
"""Descriptors that main, which has no traffic, may have come to: somebody may be asking it something."""
MORE_MEMORY = 1.25
"""What memory may have become, times what it was: processes of the same age do not weigh the same."""


def problems(outcome: Outcome) -> list[str]:
    """Everything that is not as it must be; none: nothing was lost."""
    return [*outcome.trouble, *lost(outcome), *left(outcome)]


def lost(outcome: Outcome) -> Iterator[str]:
    """What clients have noticed, and why."""
    seen = outcome.tally
    counts = (
        (seen.failures, f"of {seen.requests:,} requests got no complete right answer"),
        (seen.closed, "keep-alive connections were closed by the proxy"),
        (seen.cut, "WebSocket or TCP sessions were cut"),
        (seen.lost, f"of {seen.messages:,} WebSocket messages were lost"),
        (seen.disordered, "WebSocket messages came out of order, doubled or from nowhere"),
        (seen.missing, f"of {seen.streamed:,} TCP bytes were lost"),
        (seen.wrong, "TCP bytes were wrong"),
    )
    found = [f"{count:,} {what}" for count, what in counts if count]
    yield from found
    if not seen.requests:
        yield "no request was sent at all"
    if found:
        reasons = sorted(seen.reasons.items(), key=lambda each: -each[1])
        yield from (f"    {count:,} times: {reason}" for reason, count in reasons)


def left(outcome: Outcome) -> Iterator[str]:
    """What the upgrades have left behind, or taken meanwhile."""
    if outcome.left_behind:
        yield f"processes were left behind: {', '.join(map(str, outcome.left_behind))}"
    if outcome.before is None or outcome.after is None:
        return
    before, after = outcome.before, outcome.after
    if outcome.most_workers > before.workers + 1:
        yield f"{outcome.most_workers} workers at a time, where there are {before.workers}: one more may be"
    if after.workers != before.workers:
        yield f"{before.workers} workers before, {after.workers} after"
    if after.descriptors > before.descriptors + MORE_DESCRIPTORS * before.workers:
        yield f"{before.descriptors} descriptors before, {after.descriptors} after"
    if after.of_main > before.of_main + MORE_OF_MAIN:
        yield f"main: {before.of_main} descriptors before, {after.of_main} after"
    if before.memory and after.memory and after.memory > MORE_MEMORY * before.memory:
        yield f"{mebibytes(before.memory)} MiB before, {mebibytes(after.memory)} MiB after"


def table(outcome: Outcome) -> list[tuple[str, str]]:
    """Names and figures."""
    seen, before, after = outcome.tally, outcome.before, outcome.after
    return [
        ("requests", f"{seen.requests:,}"),
        ("failures", f"{seen.failures:,}"),
        ("keep-alive connections closed by the proxy", f"{seen.closed:,}"),
        ("slowest request", milliseconds(seen.slowest)),
        ("new connections", f"{seen.connections:,}"),
        ("WebSocket messages", f"{seen.messages:,}"),
        ("  lost / out of order", f"{seen.lost:,} / {seen.disordered:,}"),
        ("  slowest echo", milliseconds(seen.slowest_echo)),
        ("TCP bytes", f"{seen.streamed:,}"),
        ("  lost / wrong", f"{seen.missing:,} / {seen.wrong:,}"),
        ("WebSocket and TCP sessions cut", f"{seen.cut:,}"),
        (
            "memory (PSS) before / at most / after",
            f"{memory(before)} / {mebibytes(outcome.peak)} / {memory(after)} MiB",
        ),
        (
            "descriptors before / after",
            f"{before.descriptors if before else '–'} / {after.descriptors if after else '–'}",
        ),
        ("  of main", f"{before.of_main if before else '–'} / {after.of_main if after else '–'}"),
        ("workers / most at a time", f"{before.workers if before else '–'} / {outcome.most_workers}"),
        ("processes left behind", f"{len(outcome.left_behind)}"),
        ("upgrades", f"{len(outcome.times)}"),
        ("  median / longest", f"{seconds(outcome.times, statistics.median)} / {seconds(outcome.times, max)}"),
        ("control plane away at most", milliseconds(outcome.away)),
    ]


def aligned(rows: list[tuple[str, str]]) -> str:
    """For a terminal."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {figure}" for name, figure in rows)


def as_json(outcome: Outcome) -> str:
    """Everything; times in seconds, memory in bytes."""
    return json.dumps({**asdict(outcome), "problems": problems(outcome)}, indent=2)


def seconds(times: list[float], which: Callable[[list[float]], float]) -> str:
    """`1.2 s`, or a dash where there are none."""
    return f"{which(times):.1f} s" if times else "–"


def milliseconds(duration: float) -> str:
    """`12 ms`."""
    return f"{duration * 1000:,.0f} ms"


def memory(sample: Sample | None) -> str:
    """MiB, or a dash where it is not known."""
    return mebibytes(sample.memory) if sample and sample.memory is not None else "–"


def mebibytes(size: int) -> str:
    """`71.5`."""
    return f"{size / MEBIBYTE:.1f}"
