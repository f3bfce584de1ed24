"""argv → a command. Exit codes: 0 done as asked, 1 it could not be done (standard error says what and where), 2 wrong
usage, 3 `ctl plan` found a difference.

What a command needs is imported when it runs: `serve` loads nothing that draws tables, `ctl` no proxy.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from sozu_trio import __version__
from sozu_trio.cli.usage import UsageParser
from sozu_trio.errors import OperatorError

EXAMPLE = """example:
  python -m sozu_trio serve                       two demo backends behind 127.0.0.1:8080, https: 8443
  python -m sozu_trio serve -c proxy.toml         what the file says
  python -m sozu_trio serve -c proxy.toml --check say what is wrong with the file, or nothing
  python -m sozu_trio ctl -c proxy.toml status    how the running proxy is
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    options = parser(whole=words[:1] != ["serve"]).parse_args(words)
    try:
        return _run(options)
    except OperatorError as error:
        print(error, file=sys.stderr)
        return 1
    except BaseExceptionGroup as group:
        # A nursery's failures come in groups, also when there is but one.
        mistakes, others = group.split(OperatorError)
        if mistakes is None or others is not None:
            raise
        print(*_leaves(mistakes), sep="\n", file=sys.stderr)
        return 1


def _run(options: argparse.Namespace) -> int:
    if options.command == "ctl":
        from sozu_trio.cli.ctl import ctl

        return ctl(options)
    from sozu_trio.cli.serve import check, serve

    if options.check:
        check(options.config)
    else:
        serve(options.config, options.state_from, options.tls_key_log)
    return 0


def _leaves(group: BaseExceptionGroup[OperatorError]) -> Iterator[OperatorError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _leaves(error)
        else:
            yield error


def parser(*, whole: bool = True) -> argparse.ArgumentParser:
    """The parser of the command line; without `ctl`, whose hundred verbs take 100 ms, where it is not the `whole`."""
    made = UsageParser(
        prog="sozu_trio",
        description="A reverse proxy that is reconfigured while it serves.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("--version", action="version", version=f"sozu_trio {__version__}")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")
    serving = commands.add_parser(
        "serve",
        help="serve in the foreground",
        description="Serve in the foreground until SIGTERM or SIGINT; the second one cuts what is left.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    serving.add_argument(
        "-c", "--config", type=Path, metavar="FILE", help="TOML file (default: an embedded demonstration)"
    )
    serving.add_argument("--check", action="store_true", help="read the file, say what is wrong with it, and exit")
    serving.add_argument(
        "--state-from",
        type=Path,
        metavar="FILE",
        help="begin with this saved state instead of the journal, where that is damaged; `none`: with no state",
    )
    serving.add_argument(
        "--tls-key-log",
        type=Path,
        metavar="FILE",
        help="append the secrets of clients' TLS sessions to this file, for Wireshark: whoever reads it can decrypt "
        "everything they say and are told (the variable SSLKEYLOGFILE is ignored)",
    )
    if whole:
        from sozu_trio.cli.ctl_parser import add_ctl

        add_ctl(commands)
    return made
