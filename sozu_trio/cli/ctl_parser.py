"""The table of verbs → an argparse parser: groups, verbs, helps with an example each.

Options of ctl itself may stand before the verb and after it.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sozu_trio.cli.ctl_changes import CHANGES
from sozu_trio.cli.ctl_options import add_option, number
from sozu_trio.cli.ctl_questions import LOCAL, QUESTIONS
from sozu_trio.cli.ctl_verbs import GROUPS, Verb

VERBS = {verb.words: verb for verb in (*QUESTIONS, *CHANGES, *LOCAL)}
"""Every verb by its words."""

DESCRIPTION = "Ask a running proxy, and change it while it serves, over its control socket."
EXAMPLE = """ctl status
ctl --json cluster list
ctl -c proxy.toml plan
ctl backend add --id api --backend-id api-2 --address 127.0.0.1:9002"""

Commands = Any
"""What add_subparsers returns; argparse keeps its class to itself."""


def add_ctl(commands: Commands) -> None:
    """Teach a program's subparsers the command `ctl`."""
    parser = _add(commands, "ctl", "ask a running proxy, or change it while it serves", DESCRIPTION, EXAMPLE)
    add_common_options(parser, ())
    parser.set_defaults(config_file=None, socket=None, json=False, timeout=None)
    groups = {"": parser.add_subparsers(metavar="VERB", required=True)}
    for words, line in GROUPS.items():
        above, _, name = words.rpartition(" ")
        example = next(f"ctl {verb.example}" for verb in VERBS.values() if verb.words.startswith(f"{words} "))
        group = _add(groups[above], name, line, line, example.partition("\n")[0])
        add_common_options(group, ())
        groups[words] = group.add_subparsers(metavar="VERB", required=True)
    for verb in VERBS.values():
        above, _, name = verb.words.rpartition(" ")
        _add_verb(groups[above], name, verb)


def _add_verb(commands: Commands, name: str, verb: Verb) -> None:
    example = "\n".join(f"ctl {line}" for line in verb.example.splitlines())
    parser = _add(commands, name, verb.help, verb.help, example)
    for option in verb.options:
        add_option(parser, option)
    for group in verb.one_of:
        exclusive = parser.add_mutually_exclusive_group()
        for option in group:
            add_option(exclusive, option)
    add_common_options(parser, (flag for option in verb.all_options for flag in option.flags))
    parser.set_defaults(verb=verb.words)


def _add(commands: Commands, name: str, line: str, description: str, example: str) -> argparse.ArgumentParser:
    indented = "\n".join(f"  {each}" for each in example.splitlines())
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=line,
        description=f"{description[0].upper()}{description[1:].rstrip('.')}.",
        epilog=f"example:\n{indented}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    return parser


def add_common_options(parser: argparse.ArgumentParser, taken: Iterable[str]) -> None:
    """ctl's own options, except the flags that the verb itself has `taken`. What is not given leaves no trace."""
    group, used = parser.add_argument_group("options of ctl"), set(taken)

    def add(*flags: str, **members: Any) -> None:
        free = [each for each in flags if each not in used]
        if free:
            group.add_argument(*free, default=argparse.SUPPRESS, **members)

    add(
        "-c",
        "--config",
        dest="config_file",
        type=Path,
        metavar="FILE",
        help="the proxy's file: says where its socket is",
    )
    add("--socket", dest="socket", type=Path, metavar="PATH", help="the control socket (default: ./sozu.sock)")
    add("-j", "--json", dest="json", action="store_true", help="print the answer's content as one JSON document")
    add(
        "--timeout",
        dest="timeout",
        type=seconds,
        metavar="S",
        help="seconds without a word from the proxy; 0 = none (default: ctl_command_timeout, else 30)",
    )


def seconds(word: str) -> float:
    """A number that is not negative. Raises ArgumentTypeError."""
    value = number(word)
    if value < 0:
        raise argparse.ArgumentTypeError(f"found {word!r}; want a number of seconds, 0 = none")
    return value
