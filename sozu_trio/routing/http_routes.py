"""All HTTP rules of one address, compiled: PRE as declared, then TREE by how specific they are, then POST as declared.

An address without rules has routes too; they find nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from sozu_trio.config.clusters import HttpFrontend, Position
from sozu_trio.config.patterns import canonical_literal
from sozu_trio.routing.decisions import NOT_FOUND, ClusterEntry, Decision, decide
from sozu_trio.routing.hosts import NO_HOSTS, HostRules, compile_hosts
from sozu_trio.routing.ordered import NO_RULES, OrderedRules, compile_ordered
from sozu_trio.routing.paths import PathRules, compile_paths
from sozu_trio.routing.slices import Pace, Sliced
from sozu_trio.routing.state import FrontendKey

RULE_UNITS = 2


class HttpRoutes:
    """The rules of one address, as `compile_routes` makes them; `find` never raises."""

    __slots__ = ("_post", "_pre", "tree")

    def __init__(self, tree: HostRules, pre: OrderedRules, post: OrderedRules) -> None:
        self.tree = tree
        self._pre = pre if pre.rules else None
        self._post = post if post.rules else None

    def find(self, host: bytes, path: bytes, method: bytes) -> Decision:
        """Where a request goes; NOT_FOUND when no rule matches.

        `host`: lower case, without port and trailing dot, IPv6 in brackets, empty if there is none. `path`: as sent,
        without query.
        """
        if host.startswith(b"["):
            host = canonical_literal(host)
        if self._pre is not None and (decision := self._pre.find(host, path, method)) is not None:
            return decision
        if (decision := self.tree.find(host, path, method)) is not None:
            return decision
        if self._post is not None and (decision := self._post.find(host, path, method)) is not None:
            return decision
        return NOT_FOUND

    def ordered(self, position: Position) -> OrderedRules:
        """The rules of PRE or POST."""
        return (self._pre if position is Position.PRE else self._post) or NO_RULES

    def positions_of(self, key: FrontendKey) -> list[Position]:
        """PRE or POST, where that rule stands there."""
        return [position for position in ORDERED if key in self.ordered(position).rules]


ORDERED: Final = (Position.PRE, Position.POST)
NO_ROUTES: Final = HttpRoutes(NO_HOSTS, NO_RULES, NO_RULES)


@dataclass(slots=True)
class Amended:
    """What is new at one address: of every host and position named here these are all rules, as declared."""

    hosts: dict[str, list[HttpFrontend]] = field(default_factory=dict)
    """By host as `canonical_host` spells it; those of position TREE, perhaps none."""
    patterns: dict[str, None] = field(default_factory=dict)
    """All hosts with a regex that have rules of position TREE, as declared; needed where one of them is in `hosts`."""
    ordered: dict[Position, dict[FrontendKey, HttpFrontend]] = field(default_factory=dict)


def compile_routes(
    before: HttpRoutes, amended: Amended, clusters: Mapping[str, ClusterEntry], pace: Pace, *, secure: bool = False
) -> Sliced[HttpRoutes]:
    """`before` with what is in `amended`; `secure`: at a listener of https, as `before` was.

    Raises ValueError for a host or a path that cannot be read.
    """
    changed: dict[str, PathRules | None] = {}
    for hostname, frontends in amended.hosts.items():
        known = before.tree.rules_of(hostname)
        changed[hostname] = (yield from _compile_host(frontends, clusters, known, pace, secure)) if frontends else None
    tree = before.tree
    if changed:
        tree = yield from compile_hosts(tree, changed, amended.patterns, pace)
    ordered = {position: before.ordered(position) for position in ORDERED}
    for position, of_position in amended.ordered.items():
        ordered[position] = yield from compile_ordered(of_position, clusters, ordered[position], pace, secure=secure)
    return HttpRoutes(tree, ordered[Position.PRE], ordered[Position.POST])


def _compile_host(
    frontends: Sequence[HttpFrontend],
    clusters: Mapping[str, ClusterEntry],
    before: PathRules | None,
    pace: Pace,
    secure: bool,
) -> Sliced[PathRules]:
    known = {} if before is None else {id(decision.frontend): decision for decision in before.decisions()}
    rules = []
    for frontend in frontends:
        rules.append((frontend, decide(frontend, clusters, known.get(id(frontend)), secure=secure)))
        if pace.spend(RULE_UNITS):
            yield
    return (yield from compile_paths(rules, before, pace))
