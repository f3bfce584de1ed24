"""run.py [options] — the command line of the upgrade drill; `scripts/upgrade-drill` calls it.

Progress goes to standard error, the result to standard output. Exit code 0: nothing was lost; 1: something was, and it
is said what; 2: wrong usage.
"""

import argparse
import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import trio

from benchmarks.failures import told
from benchmarks.peers import installed
from benchmarks.processes import ProcessTrouble
from benchmarks.run import positive
from benchmarks.upgrade_drill import paired, report
from benchmarks.upgrade_drill.crowd import Crowd
from benchmarks.upgrade_drill.drill import Plan, drill, say
from benchmarks.upgrade_drill.keep_alive import Asked, NoAnswer, asked_by, probe
from benchmarks.upgrade_drill.stage import Stage, own_stage
from benchmarks.upgrade_drill.upgrading import Kind, Upgrader
from sozu_trio.cli.ctl_target import find_target
from sozu_trio.errors import ControlError, OperatorError

EXAMPLE = """\
examples:
  scripts/upgrade-drill                              ten upgrades of everything, with a proxy of its own
  scripts/upgrade-drill --no-upgrade                 the same clients for 20 s and no upgrade: what is noise here
  scripts/upgrade-drill --workers-only --upgrades 3
  scripts/upgrade-drill --paired                     what upgrades cost in time
  scripts/upgrade-drill --config /etc/sozu-trio/config.toml --url http://127.0.0.1/health --upgrades 1
                                                     the proxy that runs by that file is upgraded
"""
FAILURES = (ControlError, OperatorError, ProcessTrouble, NoAnswer)


def main(words: Sequence[str] | None = None) -> None:
    """Raises SystemExit with 1 where something was lost."""
    options = command_line(words)
    found: list[str] = []
    try:
        with on_stage(options) as stage:
            found += perform(stage, options)
    except (*FAILURES, BaseExceptionGroup) as error:
        found += told(error, FAILURES)
    if found:
        raise SystemExit("\n".join(["", "upgrade drill failed:", *found]))


def perform(stage: Stage, options: argparse.Namespace) -> list[str]:
    """Do what the options ask for and print what came of it; what was lost. Raises FAILURES, in groups."""
    plan = plan_of(stage, options)
    if options.paired:
        pairs = trio.run(paired.paired, stage, quiet_crowd(stage), plan, options.rounds)
        print(paired.json_of(pairs) if options.json else report.aligned(paired.table_of(pairs)), flush=True)
        return paired.problems_of(pairs)
    outcome = trio.run(drill, stage, crowd_of(stage, options), plan)
    print(report.as_json(outcome) if options.json else report.aligned(report.table(outcome)), flush=True)
    return report.problems(outcome)


def command_line(words: Sequence[str] | None) -> argparse.Namespace:
    """Exits with 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="scripts/upgrade-drill",
        description="Upgrade a proxy under every kind of client, and say what was lost: it should be nothing.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_upgrades(parser)
    add_paired(parser)
    add_running_proxy(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON document instead of a table")
    options = parser.parse_args(words)
    if bool(options.url) != bool(options.config or options.socket):
        parser.error("a proxy that runs already takes both: --config FILE or --socket PATH, and --url URL for clients")
    if options.url and options.paired:
        parser.error("--paired measures a proxy of its own: leave out --config, --socket and --url")
    return options


def add_upgrades(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("upgrades")
    what = group.add_mutually_exclusive_group()
    what.add_argument("--workers-only", dest="kind", action="store_const", const="workers", help="each worker in turn")
    what.add_argument("--no-upgrade", dest="kind", action="store_const", const="none", help="nothing: only the clients")
    parser.set_defaults(kind="everything")
    group.add_argument("--upgrades", type=positive, metavar="N", help="how many (10; 2 a round with --paired)")
    group.add_argument("--python", metavar="PATH", help="the interpreter with the new version (the one that runs)")
    group.add_argument(
        "--seconds", type=positive, default=20, metavar="S", help="length of a run with --no-upgrade (20)"
    )


def add_paired(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a proxy of its own")
    group.add_argument("--workers", type=positive, metavar="N", help="how many it has (2; 1 with --paired)")
    group.add_argument("--websockets", type=positive, default=50, metavar="N", help="WebSocket clients (50)")
    group.add_argument("--streams", type=positive, default=20, metavar="N", help="TCP sessions (20)")
    group.add_argument(
        "--rate",
        type=rate,
        default=2000,
        metavar="R",
        help="requests a second of wrk, beside the other clients; 0 = as many as are answered (2000)",
    )
    group.add_argument(
        "--paired",
        action="store_true",
        help="rounds with and without upgrades at half the load of one worker: how much slower is the slowest request",
    )
    group.add_argument("--rounds", type=positive, default=3, metavar="N", help="of each, with --paired (3)")


def add_running_proxy(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a proxy that runs already: it is upgraded, its clients here are HTTP only")
    group.add_argument("--config", type=Path, metavar="FILE", help="its file: command_socket says where it is")
    group.add_argument("--socket", type=Path, metavar="PATH", help="its control socket")
    group.add_argument(
        "--url",
        type=url,
        action="append",
        default=[],
        metavar="URL",
        help="asked for with GET; may be repeated. Right is whatever has the status of the first answer",
    )


def rate(text: str) -> int:
    return positive(text) if text != "0" else 0


def url(text: str) -> Asked:
    try:
        return asked_by(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


@contextlib.contextmanager
def on_stage(options: argparse.Namespace) -> Iterator[Stage]:
    """The proxy, and what clients may do there. Raises FAILURES."""
    if not options.url:
        for program in ("nginx", "wrk"):
            installed(program)
        with own_stage(options.workers or (1 if options.paired else 2)) as stage:
            yield stage
        return
    socket = find_target(options.config, options.socket, None, patient=True).socket
    pages = tuple(dataclasses.replace(asked, status=trio.run(probe, asked)) for asked in options.url)
    for page in pages:
        say(f"http://{page.authority}{page.target} is answered with {page.status}")
    yield Stage(socket=socket, target=("--socket", str(socket)), pages=pages)


def crowd_of(stage: Stage, options: argparse.Namespace) -> Crowd:
    """Every kind of client that the stage has a place for."""
    return Crowd(
        pages=stage.pages,
        echo=stage.echo,
        websockets=options.websockets,
        stream=stage.stream,
        streams=options.streams,
    )


def quiet_crowd(stage: Stage) -> Crowd:
    """For a paired run: requests only, beside those of wrk."""
    return Crowd(pages=stage.pages)


def plan_of(stage: Stage, options: argparse.Namespace) -> Plan:
    """What the options ask for."""
    kind: Kind = options.kind
    upgrader = None if options.kind == "none" else Upgrader(kind=kind, target=stage.target, python=options.python)
    upgrades = options.upgrades or (2 if options.paired else 10)
    return Plan(
        upgrader=upgrader,
        upgrades=upgrades,
        seconds=options.seconds,
        load=stage.folder is not None,
        rate=options.rate or None,
    )


if __name__ == "__main__":
    main()
