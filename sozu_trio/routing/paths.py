"""Among the rules of one host, the one for path and method: EQUALS, then REGEX as declared, then the longest PREFIX.

A rule for the method goes before one for any method only where both have the same path; a rule for another method is as
if it were not there, and the next path is tried. Paths are compared as sent: case counts and nothing is decoded.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from sozu_trio.config.clusters import HttpFrontend, PathType
from sozu_trio.config.patterns import compile_path_regex
from sozu_trio.routing.decisions import Decision, Rule

Methods = dict[bytes | None, Decision]
"""The decisions of one path rule by method; None is any method."""


@dataclass(frozen=True, slots=True)
class _Prefix:
    text: bytes
    methods: Methods
    shorter: "_Prefix | None"
    """The longest other prefix that `text` begins with."""


class PathRules:
    """The rules of one host pattern. Raises ValueError at construction for a regex that is none."""

    __slots__ = ("_equals", "_prefix_texts", "_prefixes", "_regexes")

    def __init__(self, rules: Iterable[Rule]) -> None:
        texts: dict[tuple[PathType, str], Methods] = {}
        for frontend, decision in rules:
            texts.setdefault((frontend.path_type, frontend.path), {})[_method(frontend)] = decision
        self._equals = {path.encode(): methods for (kind, path), methods in texts.items() if kind is PathType.EQUALS}
        self._regexes: tuple[tuple[re.Pattern[bytes], Methods], ...] = tuple(
            (compile_path_regex(path), methods) for (kind, path), methods in texts.items() if kind is PathType.REGEX
        )
        prefixes = {path.encode(): methods for (kind, path), methods in texts.items() if kind is PathType.PREFIX}
        self._prefixes = _link_prefixes(prefixes)
        self._prefix_texts = [prefix.text for prefix in self._prefixes]

    def find(self, path: bytes, method: bytes) -> Decision | None:
        """The decision of the best rule, or None. `path` is without query."""
        if self._equals:
            methods = self._equals.get(path)
            if methods is not None and (decision := methods.get(method) or methods.get(None)) is not None:
                return decision
        for pattern, methods in self._regexes:
            if (
                pattern.fullmatch(path) is not None
                and (decision := methods.get(method) or methods.get(None)) is not None
            ):
                return decision
        return self._find_prefix(path, method)

    def _find_prefix(self, path: bytes, method: bytes) -> Decision | None:
        # In sorted order a prefix of the path stands before the path, and all between the two begin with that prefix.
        # So the nearest one before the path leads, from each prefix to the next shorter, to all that match.
        index = bisect_right(self._prefix_texts, path)
        prefix = self._prefixes[index - 1] if index else None
        while prefix is not None:
            if path.startswith(prefix.text):
                methods = prefix.methods
                if (decision := methods.get(method) or methods.get(None)) is not None:
                    return decision
            prefix = prefix.shorter
        return None


def _method(frontend: HttpFrontend) -> bytes | None:
    return None if frontend.method is None else frontend.method.encode()


def _link_prefixes(prefixes: dict[bytes, Methods]) -> list[_Prefix]:
    """In sorted order, each linked to the next shorter one, which therefore stands before it."""
    linked: list[_Prefix] = []
    for text, methods in sorted(prefixes.items(), key=lambda item: item[0]):
        shorter = linked[-1] if linked else None
        while shorter is not None and not text.startswith(shorter.text):
            shorter = shorter.shorter
        linked.append(_Prefix(text, methods, shorter))
    return linked
