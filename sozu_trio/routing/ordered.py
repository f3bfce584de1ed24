"""The rules of positions PRE and POST: tried as declared, the first that matches decides.

The order is the meaning, so there is no tree here. Rules for a plain host name are kept by name all the same: only
those and the rules whose host is a pattern are looked at, not those of every other name.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sozu_trio.config.patterns import Label, parse_host
from sozu_trio.routing.decisions import Decision, Rule
from sozu_trio.routing.hosts import host_matches, plain_name
from sozu_trio.routing.paths import PathRules


@dataclass(frozen=True, slots=True)
class _Numbered:
    number: int
    host: tuple[Label, ...]
    rules: PathRules


class OrderedRules:
    """Raises ValueError at construction for a host or a path that cannot be read."""

    __slots__ = ("_named", "_patterns")

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._named: dict[bytes, list[_Numbered]] = {}
        self._patterns: list[_Numbered] = []
        for number, rule in enumerate(rules):
            host = parse_host(rule[0].hostname)
            name = plain_name(host) if host else None
            kept = self._patterns if name is None else self._named.setdefault(name, [])
            kept.append(_Numbered(number, host, PathRules([rule])))

    def find(self, host: bytes, path: bytes, method: bytes) -> Decision | None:
        """The decision of the first rule that matches, or None."""
        named = _first(self._named.get(host, ()), path, method)
        last = None if named is None else named[0]
        of_pattern = _first_pattern(self._patterns, last, host, path, method)
        if of_pattern is not None:
            return of_pattern
        return None if named is None else named[1]


def _first(rules: Sequence[_Numbered], path: bytes, method: bytes) -> tuple[int, Decision] | None:
    for rule in rules:
        if (decision := rule.rules.find(path, method)) is not None:
            return rule.number, decision
    return None


def _first_pattern(
    rules: Sequence[_Numbered], before: int | None, host: bytes, path: bytes, method: bytes
) -> Decision | None:
    """The first match among those declared before number `before`."""
    for rule in rules:
        if before is not None and rule.number > before:
            return None
        if host_matches(rule.host, host) and (decision := rule.rules.find(path, method)) is not None:
            return decision
    return None
