"""Among the hosts of an address, the rules for one host: the most specific that has a rule for the path and the method.

Patterns are compared label by label from the right, and at the first label where two of them differ the name itself
goes before `*` and `*` before a regex; of two regexes the one declared first goes first; the host `*` comes last. So
the plain name is always first and the `*.suffix` of plain labels second, and both are dicts; only patterns with a regex
need the trie. Where the rules of a host have none for path and method, the next host is tried.
"""

import re
from collections.abc import Mapping, Sequence

from sozu_trio.config.patterns import ANY_HOST, Label, Wildcard
from sozu_trio.routing.decisions import Decision
from sozu_trio.routing.paths import PathRules


class HostRules:
    """The path rules of many host patterns; `groups` is in the order of declaration."""

    __slots__ = ("_any", "_names", "_trie", "_wildcards")

    def __init__(self, groups: Mapping[tuple[Label, ...], PathRules]) -> None:
        self._names: dict[bytes, PathRules] = {}
        self._wildcards: dict[bytes, PathRules] = {}
        self._trie: _Node | None = None
        self._any = groups.get(ANY_HOST)
        for labels, rules in groups.items():
            if labels != ANY_HOST:
                self._add(labels, rules)

    def _add(self, labels: tuple[Label, ...], rules: PathRules) -> None:
        if (name := plain_name(labels)) is not None:
            self._names[name] = rules
        elif labels[0] is Wildcard.ONE_LABEL and (suffix := plain_name(labels[1:])) is not None:
            self._wildcards[suffix] = rules
        else:
            self._trie = self._trie or _Node()
            self._trie.add(labels[::-1], rules)

    def find(self, host: bytes, path: bytes, method: bytes) -> Decision | None:
        """The decision of the best rule, or None. `host`: lower case, without port or trailing dot; may be empty."""
        rules = self._names.get(host)
        if rules is not None and (decision := rules.find(path, method)) is not None:
            return decision
        if self._wildcards:
            label, _, suffix = host.partition(b".")
            rules = self._wildcards.get(suffix) if label else None
            if rules is not None and (decision := rules.find(path, method)) is not None:
                return decision
        if self._trie is not None and (decision := self._trie.find(split_host(host), path, method)) is not None:
            return decision
        return None if self._any is None else self._any.find(path, method)


class _Node:
    """All patterns with the same last labels; `rules` are of these labels alone, `wildcard` of `*` before them."""

    __slots__ = ("names", "regexes", "rules", "wildcard")

    def __init__(self) -> None:
        self.rules: PathRules | None = None
        self.wildcard: PathRules | None = None
        self.names: dict[bytes, _Node] = {}
        self.regexes: dict[re.Pattern[bytes], _Node] = {}

    def add(self, labels: Sequence[Label], rules: PathRules) -> None:
        if not labels:
            self.rules = rules
            return
        label, *rest = labels
        if isinstance(label, Wildcard):
            self.wildcard = rules
        elif isinstance(label, bytes):
            self.names.setdefault(label, _Node()).add(rest, rules)
        else:
            self.regexes.setdefault(label, _Node()).add(rest, rules)

    def find(self, labels: Sequence[bytes], path: bytes, method: bytes, depth: int = 0) -> Decision | None:
        """`labels` from the right; those before `depth` led here."""
        if depth == len(labels):
            return None if self.rules is None else self.rules.find(path, method)
        label = labels[depth]
        if not label:
            return None
        child = self.names.get(label)
        if child is not None and (decision := child.find(labels, path, method, depth + 1)) is not None:
            return decision
        wildcard = self.wildcard if depth + 1 == len(labels) else None
        if wildcard is not None and (decision := wildcard.find(path, method)) is not None:
            return decision
        for pattern, child in self.regexes.items():
            matched = child if pattern.fullmatch(label) is not None else None
            if matched is not None and (decision := matched.find(labels, path, method, depth + 1)) is not None:
                return decision
        return None


def plain_name(labels: Sequence[Label]) -> bytes | None:
    """The host that is meant, when every label is a name; else None."""
    names = [label for label in labels if isinstance(label, bytes)]
    return b".".join(names) if len(names) == len(labels) else None


def split_host(host: bytes) -> list[bytes]:
    """The labels from the right. An IPv6 literal is one, whatever dots it has."""
    return [host] if host.startswith(b"[") else host.split(b".")[::-1]


def host_matches(pattern: Sequence[Label], host: bytes) -> bool:
    """Whether a pattern, of any form, matches a host."""
    if not pattern:
        return True
    labels = split_host(host)
    return len(labels) == len(pattern) and all(map(_label_matches, reversed(pattern), labels))


def _label_matches(pattern: Label, label: bytes) -> bool:
    if not label or isinstance(pattern, bytes):
        return label == pattern
    return pattern is Wildcard.ONE_LABEL or pattern.fullmatch(label) is not None
