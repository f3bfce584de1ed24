"""Log directives, the text that says how much each module may log: `info,sozu_trio.wire=debug`.

A bare level is the default, `module=level` is for that module and those below it, and the most specific one wins
whatever the order. What cannot be understood is an error: a typing mistake must neither silence a log nor open it to
everything. Only packages whose records reach our log may be named. That a module exists below them is not checked: a
directive must not stop the start of a version in which a file has another name.
"""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass

from sozu_trio.config.nearest import nearest
from sozu_trio.errors import OperatorError

TRACE = 5
"""Below logging.DEBUG: what happens on each connection, step by step."""
OFF = logging.CRITICAL + 10
"""Above every level a record can have."""
LEVELS: Mapping[str, int] = {
    "off": OFF,
    "error": logging.ERROR,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "info": logging.INFO,
    "debug": logging.DEBUG,
    "trace": TRACE,
}
PACKAGES = ("sozu_trio", "trio")
"""The packages whose records our log takes."""
ENVIRONMENT = "SOZU_LOG"
_MODULE = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Directives:
    """`default` and the levels of `modules` (in order of name), as numbers of `logging`."""

    default: int
    modules: tuple[tuple[str, int], ...] = ()


def parse_directives(text: str) -> Directives:
    """Read comma-separated `level` and `module=level`; without a bare level the default is info.

    As in Sōzu, what follows a slash (a filter of env_logger) is ignored and case does not matter in levels.
    Raises OperatorError that names the part that is wrong.
    """
    default: int | None = None
    modules: dict[str, int] = {}
    for part in (part.strip() for part in text.partition("/")[0].split(",")):
        module, equals, level = (piece.strip() for piece in part.rpartition("="))
        if not equals:
            default = _once(default, _level(part, text), part, text)
        else:
            modules[_module(module, part)] = _once(modules.get(module), _level(level, part), module, text)
    return Directives(logging.INFO if default is None else default, tuple(sorted(modules.items())))


def fault_in(text: str) -> str | None:
    """What is wrong with directives, None for nothing."""
    try:
        parse_directives(text)
    except OperatorError as error:
        return str(error)
    return None


def directives_from(environ: Mapping[str, str], log_level: str) -> Directives:
    """What to start with: SOZU_LOG, unless it is unset or empty, else `log_level` of the configuration.

    Raises OperatorError that begins with the name of the one that is wrong.
    """
    source, text = (ENVIRONMENT, environ[ENVIRONMENT]) if environ.get(ENVIRONMENT) else ("log_level", log_level)
    try:
        return parse_directives(text)
    except OperatorError as error:
        raise OperatorError(f"{source}: {error}") from None


def effective_level(directives: Directives, name: str) -> int:
    """The level the logger called `name` gets: that of the longest module it lies in, else the default."""
    within = [module for module, _ in directives.modules if name == module or name.startswith(f"{module}.")]
    return dict(directives.modules)[max(within, key=len)] if within else directives.default


def _level(word: str, where: str) -> int:
    level = LEVELS.get(word.lower())
    if level is None:
        known = ", ".join(LEVELS)
        hint = f"; for a module write {word}=debug" if _top(word) in PACKAGES else nearest(word.lower(), LEVELS)
        raise OperatorError(f"log directives {where!r}: {word!r} is not a level{hint}; levels are {known}")
    return level


def _module(name: str, where: str) -> str:
    if not _MODULE.fullmatch(name):
        raise OperatorError(f"log directives {where!r}: {name!r} is not a module; want a name such as sozu_trio.wire")
    if _top(name) not in PACKAGES:
        raise OperatorError(
            f"log directives {where!r}: nothing is logged by {_top(name)!r}{nearest(_top(name), PACKAGES)}; "
            f"want a module of {' or '.join(PACKAGES)}"
        )
    return name


def _top(name: str) -> str:
    return name.partition(".")[0]


def _once(before: int | None, level: int, what: str, text: str) -> int:
    if before is not None:
        raise OperatorError(f"log directives {text!r}: {what!r} is one level too many, it was given before")
    return level
