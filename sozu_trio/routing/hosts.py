"""Among the hosts of an address, the rules for one host: the most specific that has a rule for the path and the method.

Patterns are compared label by label from the right, and at the first label where two of them differ the name itself
goes before `*` and `*` before a regex; of two regexes the one declared first goes first; the host `*` comes last. So
the plain name is always first, the `*.suffix` of plain labels second, and a regex before plain labels third: all are
found in dicts. Other patterns are found by the plain labels they end with, the most labels first; what stands before
these is a trie. Where the rules of a host have none for path and method, the next host is tried.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from sozu_trio.config.patterns import Label, Wildcard, parse_host
from sozu_trio.routing.decisions import Decision
from sozu_trio.routing.paths import PathRules
from sozu_trio.routing.slices import Pace, Sliced

ANY = "*"
REGEX_UNITS = 100


class HostRules:
    """The path rules of many host patterns, as `compile_hosts` makes them."""

    __slots__ = ("_any", "_lengths", "_names", "_patterns", "_regexes", "_tries", "_wildcards")

    def __init__(self) -> None:
        self._names: dict[bytes, PathRules] = {}
        self._wildcards: dict[bytes, PathRules] = {}
        self._patterns: dict[str, tuple[Sequence[Label], PathRules]] = {}
        """All with a regex: labels from the right and rules of each, as declared."""
        self._regexes: dict[bytes, tuple[tuple[re.Pattern[bytes], PathRules], ...]] = {}
        """Those whose first label alone is one, by the plain labels after it; by b"" where there are none."""
        self._tries: dict[bytes, _Node] = {}
        """All with a regex, by the plain labels they end with: for others than those."""
        self._lengths: set[int] = set()
        """How many labels the others have: a host may have 30,000, and each look takes longer the more there are."""
        self._any: PathRules | None = None

    def find(self, host: bytes, path: bytes, method: bytes) -> Decision | None:
        """The decision of the best rule, or None. `host`: lower case, without port or trailing dot; may be empty."""
        rules = self._names.get(host)
        if rules is not None and (decision := rules.find(path, method)) is not None:
            return decision
        if self._wildcards or self._patterns:
            label, dot, suffix = (host, b"", b"") if host.startswith(b"[") else host.partition(b".")
            if label and (suffix or not dot):
                rules = self._wildcards.get(suffix)
                if rules is not None and (decision := rules.find(path, method)) is not None:
                    return decision
                for pattern, rules in self._regexes.get(suffix, ()):
                    if pattern.fullmatch(label) is not None and (decision := rules.find(path, method)) is not None:
                        return decision
            if host.count(b".") + 1 in self._lengths:
                decision = self._find_in_tries(host, path, method)
                if decision is not None:
                    return decision
        return None if self._any is None else self._any.find(path, method)

    def _find_in_tries(self, host: bytes, path: bytes, method: bytes) -> Decision | None:
        labels = split_host(host)
        if not labels[0]:
            return None  # Else what follows the last dot would be taken for the end of the host.
        rest = host.partition(b".")[2]
        for depth in range(len(labels) - 2, -1, -1):
            rest = rest.partition(b".")[2] if depth else b""
            trie = self._tries.get(rest)
            if trie is not None and (decision := trie.find(labels, depth, path, method)) is not None:
                return decision
        return None

    def rules_of(self, hostname: str) -> PathRules | None:
        """Those of one pattern, as `canonical_host` spells it."""
        if hostname == ANY:
            return self._any
        if has_regex(hostname):
            return self._patterns[hostname][1] if hostname in self._patterns else None
        if hostname.startswith("*."):
            return self._wildcards.get(_suffix(hostname))
        return self._names.get(hostname.encode())

    def copy(self) -> "HostRules":
        """One that can be changed without changing this one."""
        copy = HostRules()
        copy._names, copy._wildcards = dict(self._names), dict(self._wildcards)
        copy._patterns, copy._regexes = self._patterns, self._regexes
        copy._tries, copy._lengths, copy._any = self._tries, self._lengths, self._any
        return copy

    def put(self, hostname: str, rules: PathRules | None) -> None:
        """Give a pattern without regex its rules, None for none; only before this is in use."""
        if hostname == ANY:
            self._any = rules
        elif hostname.startswith("*."):
            _put(self._wildcards, _suffix(hostname), rules)
        else:
            _put(self._names, hostname.encode(), rules)

    def put_patterns(self, patterns: Iterable[tuple[str, PathRules]], pace: Pace) -> Sliced[None]:
        """Give all patterns with a regex, as declared, their rules; only before this is in use."""
        before, self._patterns = self._patterns, {}
        self._regexes, self._tries, self._lengths = {}, {}, set()
        for hostname, rules in patterns:
            known = before.get(hostname)
            labels = parse_host(hostname)[::-1] if known is None else known[0]
            self._patterns[hostname] = labels, rules
            self._put_pattern(labels, rules)
            if pace.spend(REGEX_UNITS if known is None else 2 * len(labels)):
                yield
        for suffix, trie in self._tries.items():
            self._regexes[suffix] = trie.last_regexes()
            if pace.spend(1 + len(self._regexes[suffix])):
                yield

    def _put_pattern(self, labels: Sequence[Label], rules: PathRules) -> None:
        plain = _plain_labels(labels)
        self._tries.setdefault(b".".join(reversed(plain)), _Node()).add(labels[len(plain) :], rules)
        if len(plain) + 1 < len(labels):
            self._lengths.add(len(labels))


class _Node:
    """All patterns with the same last labels; `rules` are of these labels alone, `wildcard` of `*` before them.

    It has None instead of what would be empty: that is not fetched from memory to be found empty.
    """

    __slots__ = ("names", "regexes", "rules", "wildcard")

    def __init__(self) -> None:
        self.rules: PathRules | None = None
        self.wildcard: PathRules | None = None
        self.names: dict[bytes, _Node] | None = None
        self.regexes: dict[re.Pattern[bytes], _Node] | None = None

    def add(self, labels: Sequence[Label], rules: PathRules) -> None:
        if not labels:
            self.rules = rules
            return
        label, *rest = labels
        if isinstance(label, Wildcard):
            self.wildcard = rules
        elif isinstance(label, bytes):
            self.names = {} if self.names is None else self.names
            self.names.setdefault(label, _Node()).add(rest, rules)
        else:
            self.regexes = {} if self.regexes is None else self.regexes
            self.regexes.setdefault(label, _Node()).add(rest, rules)

    def last_regexes(self) -> tuple[tuple[re.Pattern[bytes], PathRules], ...]:
        """Those that are the first label of a host, in the order of their places."""
        children = (self.regexes or {}).items()
        return tuple((pattern, child.rules) for pattern, child in children if child.rules is not None)

    def find(self, labels: Sequence[bytes], depth: int, path: bytes, method: bytes) -> Decision | None:
        """`labels` from the right; those before `depth` led here."""
        if depth == len(labels):
            return None if self.rules is None else self.rules.find(path, method)
        label = labels[depth]
        if not label:
            return None
        if self.names is not None:
            child = self.names.get(label)
            if child is not None and (decision := child.find(labels, depth + 1, path, method)) is not None:
                return decision
        if self.wildcard is not None and depth + 1 == len(labels):
            decision = self.wildcard.find(path, method)
            if decision is not None:
                return decision
        if self.regexes is not None:
            for pattern, child in self.regexes.items():
                matched = child if pattern.fullmatch(label) is not None else None
                if matched is not None and (decision := matched.find(labels, depth + 1, path, method)) is not None:
                    return decision
        return None


NO_HOSTS: Final = HostRules()


def compile_hosts(
    before: HostRules, changed: Mapping[str, PathRules | None], patterns: Iterable[str], pace: Pace
) -> Sliced[HostRules]:
    """`before` with the rules of the hosts in `changed`, None for those that have none any more.

    Hosts are spelt as `canonical_host` does; `patterns` are all those with a regex that have rules, as declared.
    """
    hosts = before.copy()
    for hostname, rules in changed.items():
        if not has_regex(hostname):
            hosts.put(hostname, rules)
        if pace.spend(1):
            yield
    if any(map(has_regex, changed)):
        yield from hosts.put_patterns(_with_rules(patterns, changed, before), pace)
    return hosts


def _with_rules(
    patterns: Iterable[str], changed: Mapping[str, PathRules | None], before: HostRules
) -> Iterator[tuple[str, PathRules]]:
    for hostname in patterns:
        rules = changed[hostname] if hostname in changed else before.rules_of(hostname)
        if rules is not None:
            yield hostname, rules


def has_regex(hostname: str) -> bool:
    """Whether a label of the pattern is one: a regex stands between slashes, and nothing else has any."""
    return "/" in hostname


def _suffix(hostname: str) -> bytes:
    return hostname[2:].encode()


def _put(rules_of: dict[bytes, PathRules], name: bytes, rules: PathRules | None) -> None:
    if rules is None:
        rules_of.pop(name, None)
    else:
        rules_of[name] = rules


def _plain_labels(labels: Iterable[Label]) -> list[bytes]:
    """Those before the first one that is none."""
    plain = []
    for label in labels:
        if not isinstance(label, bytes):
            break
        plain.append(label)
    return plain


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
