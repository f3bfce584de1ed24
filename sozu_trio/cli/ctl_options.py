"""One option of a ctl verb: how it is typed, and which member of the request's body it becomes.

Options are records, so that the verbs are tables. What is not typed is not sent: the proxy tells "keep as it is" from
"set to the default" by that. Values are judged by the proxy, which knows more; here only their JSON type is made.
"""

import argparse
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

PREFIX = "body."
"""Of argparse's names for options of a verb, so that `--timeout` of a verb is not that of ctl."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """`flags`, the long one last; without dashes it is a word at its place. `key` is the member of the body."""

    flags: tuple[str, ...]
    help: str
    key: str
    metavar: str | None = None
    read: Callable[[str], Any] = str
    """Makes the JSON value of the word; raises ValueError or argparse.ArgumentTypeError for wrong usage (exit 2)."""
    constant: Any = None
    """What the member is when the option, which then takes no word, is given."""
    repeated: bool = False
    """Each use adds to an array; `read` then gives an array or one of its items."""
    required: bool = False
    choices: tuple[str, ...] | None = None
    """All there are, where no later version of the proxy may know more."""
    words: str | None = None
    """How many words it takes, as argparse's `nargs`; None = one."""
    action: type[argparse.Action] | None = None
    """For a word at its place that is more than one member."""
    load: Callable[[Any], Any] | None = None
    """After parsing: value typed → value sent, as where a file is read. Raises OperatorError (exit 1)."""


def option(*flags: str, **members: Any) -> Option:
    """An Option whose member is named after its long flag."""
    return Option(flags=flags, **{"key": flags[-1].lstrip("-"), **members})


def flag(*flags: str, **members: Any) -> Option:
    """An option without a value: given, its member is true."""
    return option(*flags, **{"constant": True, **members})


def integer(word: str) -> int:
    """Raises ArgumentTypeError."""
    try:
        return int(word)
    except ValueError:
        raise argparse.ArgumentTypeError(f"found {word!r}; want an integer") from None


def number(word: str) -> int | float:
    """An integer stays one: it is shown as it was typed. Raises ArgumentTypeError."""
    try:
        value = float(word)
        if math.isfinite(value):
            return int(word) if word.lstrip("+-").isdecimal() else value
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"found {word!r}; want a number")


def names(word: str) -> list[str]:
    """`a,b` → two of them."""
    return [each for each in word.split(",") if each]


def pairs(word: str) -> dict[str, str]:
    """`k=v,k=v` → a table. Raises ArgumentTypeError for a part without `=`."""
    found = {}
    for part in names(word):
        key, equals, value = part.partition("=")
        if not equals or not key:
            raise argparse.ArgumentTypeError(f"found {part!r}; want name=value, several separated by commas")
        found[key] = value
    return found


def one_pair(word: str) -> dict[str, str]:
    """`k=v` → a table; the value may hold commas. Raises ArgumentTypeError."""
    key, _, value = pair(word).partition("=")
    return {key: value}


def pair(word: str) -> str:
    """`k=v`, left as it is. Raises ArgumentTypeError."""
    if not word.partition("=")[0] or "=" not in word:
        raise argparse.ArgumentTypeError(f"found {word!r}; want name=value")
    return word


class _Collect(argparse.Action):
    """Adds to what was given before: items to an array, pairs to a table."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        before = getattr(namespace, self.dest, None)
        if isinstance(values, dict):
            setattr(namespace, self.dest, {**(before or {}), **values})
        else:
            setattr(namespace, self.dest, [*(before or []), *(values if isinstance(values, list) else [values])])


def add_option(parser: argparse._ActionsContainer, each: Option) -> argparse.Action:
    """Teach `parser` one option; what is not typed leaves no trace."""
    dest = PREFIX + each.key
    if not each.flags[-1].startswith("-"):
        words: dict[str, Any] = {"metavar": each.flags[-1], "nargs": each.words, "choices": each.choices}
        return parser.add_argument(
            dest, action=each.action or "store", default=argparse.SUPPRESS, type=each.read, help=each.help, **words
        )
    known: dict[str, Any] = {"dest": dest, "help": each.help, "required": each.required, "default": argparse.SUPPRESS}
    if each.constant is not None:
        return parser.add_argument(*each.flags, action="store_const", const=each.constant, **known)
    action = _Collect if each.repeated else "store"
    metavar = each.metavar or each.key.rpartition("-")[2].upper()
    return parser.add_argument(*each.flags, action=action, metavar=metavar, type=each.read, **known)


def body_of(given: Mapping[str, Any], options: Iterable[Option]) -> dict[str, Any]:
    """The request's body: `given` is what argparse made of the words. Raises OperatorError where a file is read."""
    loaders = {each.key: each.load for each in options if each.load is not None}
    body = {}
    for name, value in given.items():
        if name.startswith(PREFIX):
            key = name.removeprefix(PREFIX)
            body[key] = loaders[key](value) if key in loaders else value
    return body
