"""All HTTP rules of one address, compiled: PRE as declared, then TREE by how specific they are, then POST as declared.

An address without rules has routes too; they find nothing.
"""

from collections.abc import Iterable

from sozu_trio.config.clusters import Position
from sozu_trio.config.patterns import Label, canonical_literal, parse_host
from sozu_trio.routing.decisions import NOT_FOUND, Decision, Rule
from sozu_trio.routing.hosts import HostRules
from sozu_trio.routing.ordered import OrderedRules
from sozu_trio.routing.paths import PathRules


class HttpRoutes:
    """Raises ValueError at construction for a host or a path that cannot be read; `find` never raises."""

    __slots__ = ("_post", "_pre", "_tree")

    def __init__(self, rules: Iterable[Rule]) -> None:
        placed: dict[Position, list[Rule]] = {position: [] for position in Position}
        for rule in rules:
            placed[rule[0].position].append(rule)
        self._pre = OrderedRules(placed[Position.PRE]) if placed[Position.PRE] else None
        self._tree = HostRules(_by_host(placed[Position.TREE]))
        self._post = OrderedRules(placed[Position.POST]) if placed[Position.POST] else None

    def find(self, host: bytes, path: bytes, method: bytes) -> Decision:
        """Where a request goes; NOT_FOUND when no rule matches.

        `host`: lower case, without port and trailing dot, IPv6 in brackets, empty if there is none. `path`: as sent,
        without query.
        """
        if host.startswith(b"["):
            host = canonical_literal(host)
        if self._pre is not None and (decision := self._pre.find(host, path, method)) is not None:
            return decision
        if (decision := self._tree.find(host, path, method)) is not None:
            return decision
        if self._post is not None and (decision := self._post.find(host, path, method)) is not None:
            return decision
        return NOT_FOUND


def _by_host(rules: Iterable[Rule]) -> dict[tuple[Label, ...], PathRules]:
    groups: dict[tuple[Label, ...], list[Rule]] = {}
    for rule in rules:
        groups.setdefault(parse_host(rule[0].hostname), []).append(rule)
    return {host: PathRules(group) for host, group in groups.items()}
