"""What a change touches at each address: hosts, and the positions PRE and POST.

The frontends are looked through twice. The first time finds the hosts that are touched, the second all rules of them,
for these may have been declared before the one that changed, and their order counts.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import HttpFrontend, Position
from sozu_trio.routing.decisions import ClusterEntry
from sozu_trio.routing.delta import Delta
from sozu_trio.routing.hosts import has_regex
from sozu_trio.routing.http_routes import ORDERED, Amended, HttpRoutes
from sozu_trio.routing.slices import Pace, Sliced, batches
from sozu_trio.routing.state import FrontendKey, State

LOOK_UNITS = 150
"""What it takes to look at a batch of frontends."""
FOUND_UNITS = 2


@dataclass(frozen=True, slots=True)
class Change:
    """What a Table has to follow: `delta` has made `state`, whose clusters are `clusters`."""

    state: State
    delta: Delta
    clusters: Mapping[str, ClusterEntry]
    clusters_changed: AbstractSet[str]
    """The ids of those that are new, other, or gone."""


class _Address:
    """What is found out about one address."""

    def __init__(self, routes: HttpRoutes | None) -> None:
        """`routes` it had so far; None for an address that is new: then everything there is."""
        self.amended = Amended()
        self.is_new = routes is None
        self._routes = routes
        self._wants_patterns = self.is_new
        if self.is_new:
            self.amended.ordered = {position: {} for position in ORDERED}

    def touch(self, key: FrontendKey, position: Position) -> None:
        """A rule that was there is gone or another, or there is a new one at `position`."""
        if self._routes is None:
            return
        self.amended.hosts[key.hostname] = []
        self._wants_patterns = self._wants_patterns or has_regex(key.hostname)
        for touched in {position, *self._routes.positions_of(key)} - {Position.TREE}:
            self.amended.ordered[touched] = {}

    def collect(self, key: FrontendKey, frontend: HttpFrontend) -> None:
        """Keep one of the rules there are now, if it is of something touched."""
        amended = self.amended
        if frontend.position is not Position.TREE:
            if (of_position := amended.ordered.get(frontend.position)) is not None:
                of_position[key] = frontend
            return
        if self._wants_patterns and has_regex(key.hostname):
            amended.patterns[key.hostname] = None
        if self.is_new:
            amended.hosts.setdefault(key.hostname, []).append(frontend)
        elif (of_host := amended.hosts.get(key.hostname)) is not None:
            of_host.append(frontend)


def find_amended(
    routes: Mapping[Address, HttpRoutes], new: AbstractSet[Address], change: Change, pace: Pace
) -> Sliced[dict[Address, Amended]]:
    """What is to be compiled anew at the addresses of `routes`, and all there is at those that are `new`."""
    found = {address: _Address(None) for address in new}
    yield from _touch_gone(found, routes, change.delta, pace)
    yield from _touch_put(found, routes, change, pace)
    if found:
        yield from _collect(found, change.state, pace)
    return {address: each.amended for address, each in found.items()}


def _touch_gone(
    found: dict[Address, _Address], routes: Mapping[Address, HttpRoutes], delta: Delta, pace: Pace
) -> Sliced[None]:
    for key in delta.gone_http_frontends:
        _touch(found, routes, key, Position.TREE)
        if pace.spend(FOUND_UNITS):
            yield


def _touch_put(
    found: dict[Address, _Address], routes: Mapping[Address, HttpRoutes], change: Change, pace: Pace
) -> Sliced[None]:
    put, changed = (yield from _put(routes, change.delta, pace)), change.clusters_changed
    if not put and not changed:
        return
    for batch in batches(change.state.http_frontends.items()):
        # To hash an address costs more than all the rest, so it comes last.
        near = [(key, each) for key, each in batch if each.cluster_id in changed or each.hostname in put]
        for key, each in near:
            if each.cluster_id in changed or each.address in put[each.hostname]:
                _touch(found, routes, key, each.position)
        if pace.spend(LOOK_UNITS + FOUND_UNITS * len(near)):
            yield


def _put(routes: Mapping[Address, HttpRoutes], delta: Delta, pace: Pace) -> Sliced[Mapping[str, AbstractSet[Address]]]:
    """Hostnames, as they are written, of the frontends that `delta` puts, with the addresses of each."""
    put: dict[str, set[Address]] = {}
    for frontend in delta.http_frontends:
        if frontend.address in routes:
            put.setdefault(frontend.hostname, set()).add(frontend.address)
        if pace.spend(FOUND_UNITS):
            yield
    return put


def _touch(
    found: dict[Address, _Address], routes: Mapping[Address, HttpRoutes], key: FrontendKey, position: Position
) -> None:
    if key.address not in found and key.address in routes:
        found[key.address] = _Address(routes[key.address])
    if key.address in found:
        found[key.address].touch(key, position)


def _collect(found: Mapping[Address, _Address], state: State, pace: Pace) -> Sliced[None]:
    every = any(each.is_new for each in found.values())
    hostnames = {hostname for each in found.values() for hostname in each.amended.hosts}
    for batch in batches(state.http_frontends.items()):
        near = batch if every else [(key, each) for key, each in batch if _may_count(key, each, hostnames)]
        for key, frontend in near:
            if (address := found.get(key.address)) is not None:
                address.collect(key, frontend)
        if pace.spend(LOOK_UNITS + FOUND_UNITS * len(near)):
            yield


def _may_count(key: FrontendKey, frontend: HttpFrontend, hostnames: AbstractSet[str]) -> bool:
    return key.hostname in hostnames or frontend.position is not Position.TREE or has_regex(key.hostname)
