"""The rules of positions PRE and POST: tried as declared, the first that matches decides.

The order is the meaning, so there is no tree here. Rules for a plain host name are kept by name all the same: only
those and the rules whose host is a pattern are looked at, not those of every other name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from sozu_trio.config.clusters import HttpFrontend
from sozu_trio.config.patterns import Label, parse_host
from sozu_trio.routing.decisions import ClusterEntry, Decision, Rule, decide
from sozu_trio.routing.hosts import REGEX_UNITS, has_regex, host_matches, plain_name
from sozu_trio.routing.paths import PathRules, compile_paths
from sozu_trio.routing.slices import Pace, Sliced
from sozu_trio.routing.state import FrontendKey

RULE_UNITS = 10


@dataclass(frozen=True, slots=True)
class OrderedRule:
    """One rule, compiled; `number` is its place among all of its position."""

    number: int
    host: tuple[Label, ...]
    paths: PathRules
    decision: Decision


class OrderedRules:
    """The rules of one position, as `compile_ordered` makes them."""

    __slots__ = ("_named", "_patterns", "rules")

    def __init__(self) -> None:
        self.rules: dict[FrontendKey, OrderedRule] = {}
        """In the order of declaration."""
        self._named: dict[bytes, list[OrderedRule]] = {}
        self._patterns: list[OrderedRule] = []

    def append(self, key: FrontendKey, rule: OrderedRule) -> None:
        """One more, behind all others; only before this is in use."""
        self.rules[key] = rule
        name = plain_name(rule.host) if rule.host else None
        kept = self._patterns if name is None else self._named.setdefault(name, [])
        kept.append(rule)

    def find(self, host: bytes, path: bytes, method: bytes) -> Decision | None:
        """The decision of the first rule that matches, or None."""
        named = _first(self._named.get(host, ()), path, method)
        last = None if named is None else named[0]
        of_pattern = _first_pattern(self._patterns, last, host, path, method)
        if of_pattern is not None:
            return of_pattern
        return None if named is None else named[1]


NO_RULES: Final = OrderedRules()


def compile_ordered(
    frontends: Mapping[FrontendKey, HttpFrontend],
    clusters: Mapping[str, ClusterEntry],
    before: OrderedRules,
    pace: Pace,
    *,
    secure: bool = False,
) -> Sliced[OrderedRules]:
    """The rules of `frontends`, in the order of declaration; what `before` has of them is used again. `secure`: their
    listener is one of https.

    Raises ValueError for a host or a path that cannot be read.
    """
    ordered = OrderedRules()
    for number, (key, frontend) in enumerate(frontends.items()):
        known = before.rules.get(key)
        decision = decide(frontend, clusters, None if known is None else known.decision, secure=secure)
        if known is None or known.decision is not decision:
            rule = yield from _compile_rule(number, (frontend, decision), known, pace)
        else:
            rule = known if known.number == number else replace(known, number=number)
        ordered.append(key, rule)
        if pace.spend(RULE_UNITS):
            yield
    return ordered


def _compile_rule(number: int, rule: Rule, known: OrderedRule | None, pace: Pace) -> Sliced[OrderedRule]:
    paths = yield from compile_paths([rule], None if known is None else known.paths, pace)
    if known is not None:
        return OrderedRule(number, known.host, paths, rule[1])
    host = parse_host(rule[0].hostname)
    if has_regex(rule[0].hostname) and pace.spend(REGEX_UNITS):
        yield
    return OrderedRule(number, host, paths, rule[1])


def _first(rules: Sequence[OrderedRule], path: bytes, method: bytes) -> tuple[int, Decision] | None:
    for rule in rules:
        if (decision := rule.paths.find(path, method)) is not None:
            return rule.number, decision
    return None


def _first_pattern(
    rules: Sequence[OrderedRule], before: int | None, host: bytes, path: bytes, method: bytes
) -> Decision | None:
    """The first match among those declared before number `before`."""
    for rule in rules:
        if before is not None and rule.number > before:
            return None
        if host_matches(rule.host, host) and (decision := rule.paths.find(path, method)) is not None:
            return decision
    return None
