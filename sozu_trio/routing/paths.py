"""Among the rules of one host, the one for path and method: EQUALS, then REGEX as declared, then the longest PREFIX.

A rule for the method goes before one for any method only where both have the same path; a rule for another method is as
if it were not there, and the next path is tried. Paths are compared as sent: case counts and nothing is decoded.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from sozu_trio.config.clusters import HttpFrontend, PathType
from sozu_trio.config.patterns import compile_path_regex
from sozu_trio.routing.decisions import Decision, Rule
from sozu_trio.routing.slices import Pace, Sliced

Methods = dict[bytes | None, Decision]
"""The decisions of one path rule by method; None is any method."""

REGEX_UNITS = 100


@dataclass(frozen=True, slots=True)
class _Prefix:
    text: bytes
    usual: Decision | None
    """For any method, where there is a rule for any."""
    special: dict[bytes, Decision] | None
    """Those for one method, where there are any."""
    shorter: "_Prefix | None"
    """The longest other prefix that `text` begins with."""


class PathRules:
    """The rules of one host pattern, as `compile_paths` makes them.

    What is looked at for every request stands in few places, and what is usually empty in none: among 10,000 hosts each
    of them is one more wait for memory.
    """

    __slots__ = ("_equals", "_prefix_texts", "_prefixes", "_regexes")

    def __init__(
        self,
        equals: Mapping[bytes, Methods],
        regexes: Sequence[tuple[re.Pattern[bytes], Methods]],
        prefixes: Sequence[_Prefix],
    ) -> None:
        """`prefixes` are sorted by text."""
        self._equals = equals or None
        self._regexes = tuple(regexes)
        self._prefixes = tuple(prefixes)
        self._prefix_texts = tuple([prefix.text for prefix in prefixes])

    def find(self, path: bytes, method: bytes) -> Decision | None:
        """The decision of the best rule, or None. `path` is without query."""
        if self._equals is not None:
            methods = self._equals.get(path)
            if methods is not None and (decision := methods.get(method) or methods.get(None)) is not None:
                return decision
        for pattern, methods in self._regexes:
            if (
                pattern.fullmatch(path) is not None
                and (decision := methods.get(method) or methods.get(None)) is not None
            ):
                return decision
        # In sorted order a prefix of the path stands before the path, and all between the two begin with that prefix.
        # So the nearest one before the path leads, from each prefix to the next shorter, to all that match.
        index = bisect_right(self._prefix_texts, path)
        prefix = self._prefixes[index - 1] if index else None
        while prefix is not None:
            if path.startswith(prefix.text):
                if prefix.special is not None and (decision := prefix.special.get(method)) is not None:
                    return decision
                if prefix.usual is not None:
                    return prefix.usual
            prefix = prefix.shorter
        return None

    def decisions(self) -> Iterator[Decision]:
        """Those of all rules."""
        for methods in (self._equals or {}).values():
            yield from methods.values()
        for _, methods in self._regexes:
            yield from methods.values()
        for prefix in self._prefixes:
            if prefix.usual is not None:
                yield prefix.usual
            yield from (prefix.special or {}).values()

    def patterns(self) -> dict[bytes, re.Pattern[bytes]]:
        """The compiled regexes by their text."""
        return {pattern.pattern: pattern for pattern, _ in self._regexes}


def compile_paths(rules: Iterable[Rule], before: PathRules | None, pace: Pace) -> Sliced[PathRules]:
    """`rules` in the order of declaration; `before` is what the same host had, of which regexes are used again.

    Raises ValueError that names the rule for a regex that is none.
    """
    texts: dict[PathType, dict[str, Methods]] = {kind: {} for kind in PathType}
    for frontend, decision in rules:
        texts[frontend.path_type].setdefault(frontend.path, {})[_method(frontend)] = decision
        if pace.spend(2):
            yield
    known = {} if before is None else before.patterns()
    regexes = []
    for path, methods in texts[PathType.REGEX].items():
        regexes.append((known.get(path.encode()) or _compile_regex(path, methods), methods))
        if pace.spend(REGEX_UNITS):
            yield
    equals = {path.encode(): methods for path, methods in texts[PathType.EQUALS].items()}
    prefixes = yield from _link_prefixes(texts[PathType.PREFIX], pace)
    return PathRules(equals, regexes, prefixes)


def _compile_regex(path: str, methods: Methods) -> re.Pattern[bytes]:
    try:
        return compile_path_regex(path)
    except ValueError as error:
        frontend = next(iter(methods.values())).frontend
        assert frontend is not None
        raise ValueError(f"the rule for {frontend.hostname!r} at {frontend.address}: {error}") from error


def _method(frontend: HttpFrontend) -> bytes | None:
    return None if frontend.method is None else frontend.method.encode()


def _link_prefixes(prefixes: Mapping[str, Methods], pace: Pace) -> Sliced[list[_Prefix]]:
    """In sorted order, each linked to the next shorter one, which therefore stands before it."""
    linked: list[_Prefix] = []
    for text, methods in sorted(((path.encode(), methods) for path, methods in prefixes.items()), key=_text):
        shorter = linked[-1] if linked else None
        while shorter is not None and not text.startswith(shorter.text):
            shorter = shorter.shorter
        special = {method: decision for method, decision in methods.items() if method is not None}
        linked.append(_Prefix(text, methods.get(None), special or None, shorter))
        if pace.spend(2):
            yield
    return linked


def _text(prefix: tuple[bytes, Methods]) -> bytes:
    return prefix[0]
