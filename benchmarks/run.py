"""run.py small|browser|bulk|… [options], run.py --guard [--write] — the benchmarks; `scripts/bench` calls it.

Exit code 1: wrong answer, failed relay, missed bar, grown count.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import bars, tls
from benchmarks.bars import Row
from benchmarks.comparisons import COMPARED
from benchmarks.guard import growth, guard
from benchmarks.idle import CLIENTS
from benchmarks.measure import WrongAnswer
from benchmarks.processes import ProcessTrouble
from benchmarks.rounds import Outcome, say
from benchmarks.subcommands import BENCHMARKS

ALL = "all"
TROUBLE = (OSError, ProcessTrouble, WrongAnswer)
"""What a benchmark fails with."""


def main() -> None:
    parser = command_line()
    options = parser.parse_args()
    if bool(options.work) == options.guard or (options.write and not options.guard):
        parser.error("want a benchmark, or --guard, or --guard --write")
    try:
        if options.guard:
            guard(write=options.write)
        else:
            measure_and_judge(options)
    except TROUBLE as error:
        raise SystemExit(f"benchmark failed: {error}") from error


def measure_and_judge(options: argparse.Namespace) -> None:
    """One benchmark. Raises SystemExit for a missed bar, OSError, ProcessTrouble, WrongAnswer."""
    draw = drawing() if options.plot else None
    outcome = everything(options) if options.work == ALL else BENCHMARKS[options.work].run(options)
    if options.json:
        options.json.write_text(json.dumps(outcome.record, indent=2))
    if draw is not None:
        draw(outcome.rows, options.plot)
    bars.judge(outcome.rows, outcome.failed, as_markdown=options.markdown)


def drawing() -> Callable[[Sequence[Row], Path], None]:
    """Raises SystemExit where there is no matplotlib: before anything is measured."""
    try:
        from benchmarks import plot
    except ImportError as error:
        raise SystemExit(f"--plot needs matplotlib, of the group dev: {error}") from error
    return plot.draw


def everything(options: argparse.Namespace) -> Outcome:
    """One benchmark after the other, then the guard; who fails stops nobody. Each has its own rounds and seconds unless
    `options` say otherwise.
    """
    rows: list[Row] = []
    failed, records = [], {}
    for name, benchmark in BENCHMARKS.items():
        if name in options.without:
            continue
        say(f"{name}: {benchmark.what}")
        try:
            outcome = benchmark.run(command_line().parse_args([name, *passed_on(options, benchmark.rounds)]))
        except TROUBLE as error:
            failed.append(f"{name}: {error}")
            say(failed[-1])
        else:
            rows += outcome.rows
            records[name] = outcome.record
    return Outcome(rows=rows + growth(), record=records, failed=tuple(failed))


def passed_on(options: argparse.Namespace, rounds: int) -> list[str]:
    """Of the options of `all` those that a benchmark takes: neither rounds nor seconds where it has none."""
    given = {"--rounds": options.rounds, "--seconds": options.seconds} if rounds else {}
    numbers = [word for name, value in given.items() if value for word in (name, str(value))]
    return [*numbers, *(["--markdown"] if options.markdown else [])]


def command_line() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="CPU per request, beside references in the same run."
    )
    parser.add_argument("--guard", action="store_true", help="counts per request beside docs/performance.json, alone")
    parser.add_argument("--write", action="store_true", help="with --guard: put them there instead")
    works = parser.add_subparsers(dest="work", metavar="|".join((*BENCHMARKS, ALL)))
    for name, benchmark in BENCHMARKS.items():
        work = works.add_parser(name, help=benchmark.what)
        if benchmark.rounds:
            add_rounds(work, benchmark.rounds, 4)
        add_output(work)
        if name in COMPARED:
            add_only(work, COMPARED[name])
            add_without(work, COMPARED[name])
    of_all = works.add_parser(ALL, help="every one of these, and one table of all bars")
    add_rounds(of_all, None, None)
    add_output(of_all)
    add_without(of_all, tuple(BENCHMARKS))
    works.choices["idle"].add_argument("--clients", type=positive, default=CLIENTS, help=f"how many ({CLIENTS:,})")
    add_only(works.choices["tls"], tuple(tls.BARS))
    works.choices["tls"].add_argument(
        "--key", choices=tls.KEYS, default="ecdsa", help="kind of the certificate's key (ecdsa)"
    )
    return parser


def add_rounds(work: argparse.ArgumentParser, rounds: int | None, seconds: int | None) -> None:
    """None: each benchmark has its own."""
    own = "each its own"
    work.add_argument("--rounds", type=positive, default=rounds, help=f"how often each is measured ({rounds or own})")
    work.add_argument("--seconds", type=positive, default=seconds, help=f"length of a measurement ({seconds or own})")


def add_output(work: argparse.ArgumentParser) -> None:
    work.add_argument("--markdown", action="store_true", help="print Markdown tables")
    work.add_argument("--json", type=Path, metavar="FILE", help="write every figure there too")
    work.add_argument("--plot", type=Path, metavar="FILE.png", help="draw the ratios there, beside bars and aims")


def add_only(work: argparse.ArgumentParser, known: tuple[str, ...]) -> None:
    work.add_argument("--only", type=names_among(known), default=known, metavar="A,B", help=f"of {', '.join(known)}")


def add_without(work: argparse.ArgumentParser, known: tuple[str, ...]) -> None:
    work.add_argument("--without", type=names_among(known), default=(), metavar="A,B", help="leave these out")


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


if __name__ == "__main__":
    main()
