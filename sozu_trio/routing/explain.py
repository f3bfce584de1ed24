"""Why a rule takes a request or does not, in words. What really takes it is asked of the Table in force.

It judges one rule after the other, as slowly as it likes: it is for an operator, not for requests.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sozu_trio.config.clusters import HttpFrontend, PathType, Position
from sozu_trio.config.patterns import compile_path_regex, parse_host
from sozu_trio.routing.hosts import host_matches

_PATHS = {PathType.EQUALS: "exact path", PathType.REGEX: "regex", PathType.PREFIX: "prefix"}
_KINDS = {PathType.EQUALS: "an exact path", PathType.REGEX: "a regex", PathType.PREFIX: "a prefix"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request as routing sees it. `host` as `host_of` spells it, `path` without query."""

    host: bytes
    path: bytes
    method: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Loser:
    """A rule that does not take the request, and why."""

    frontend: HttpFrontend
    why: str


def losers(rules: Iterable[HttpFrontend], winner: HttpFrontend | None, asked: Asked) -> Iterator[Loser]:
    """Those of `rules`, all of one address, that could be thought to take the request: their host matches."""
    for rule in rules:
        if rule != winner and host_matches(parse_host(rule.hostname), asked.host):
            yield Loser(frontend=rule, why=mismatch(rule, asked) or _lost_to(winner, rule))


def mismatch(rule: HttpFrontend, asked: Asked) -> str | None:
    """What about the request the rule does not want; None when it matches."""
    if not host_matches(parse_host(rule.hostname), asked.host):
        return f"its host {rule.hostname} does not match {_text(asked.host)}"
    if not _path_matches(rule, asked.path):
        return f"its {_PATHS[rule.path_type]} {rule.path!r} does not match {_text(asked.path)}"
    if rule.method is not None and rule.method.encode() != asked.method:
        return f"it takes {rule.method} only, not {_text(asked.method)}"
    return None


def _path_matches(rule: HttpFrontend, path: bytes) -> bool:
    match rule.path_type:
        case PathType.EQUALS:
            return path == rule.path.encode()
        case PathType.PREFIX:
            return path.startswith(rule.path.encode())
        case PathType.REGEX:
            return compile_path_regex(rule.path).fullmatch(path) is not None


def _lost_to(winner: HttpFrontend | None, rule: HttpFrontend) -> str:
    """Why `winner` goes before `rule`, though both match: the first difference in the order of docs/routing.md."""
    if winner is None:
        return "it matches, but is not in force yet"
    if winner.position is not rule.position:
        return f"a rule of position {winner.position.value} goes before one of {rule.position.value}"
    if winner.position is not Position.TREE:
        return f"rules of position {winner.position.value} are tried as declared, and the one that won came first"
    if parse_host(winner.hostname) != parse_host(rule.hostname):
        return f"host {winner.hostname} is more specific than {rule.hostname}"
    if winner.path_type is not rule.path_type:
        return f"{_KINDS[winner.path_type]} goes before {_KINDS[rule.path_type]}"
    if winner.path_type is PathType.REGEX:
        return "of two regexes the one declared first goes first"
    if winner.path != rule.path:
        return f"prefix {winner.path!r} is longer than {rule.path!r}"
    return f"a rule for {winner.method} goes before one for any method"


def _text(raw: bytes) -> str:
    return repr(raw.decode("ascii", "backslashreplace"))
