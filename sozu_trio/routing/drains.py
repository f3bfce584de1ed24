"""How long the sessions of what is removed may go on; what is not named here may go on for ever."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sozu_trio.config.addresses import Address
from sozu_trio.routing.delta import BackendName
from sozu_trio.routing.state import ListenerKey, State


def grace_of(timeout: float) -> float | None:
    """A timeout of the configuration as a grace: 0 means for ever, which is None."""
    return None if timeout in {0, math.inf} else timeout


@dataclass(frozen=True, slots=True, kw_only=True)
class Drains:
    """Seconds from the commit, after which they are cut: 0 = at once, None = never."""

    listeners: Mapping[ListenerKey, float | None] = field(default_factory=lambda: MappingProxyType({}))
    backends: Mapping[BackendName, float | None] = field(default_factory=lambda: MappingProxyType({}))
    clusters: Mapping[str, float | None] = field(default_factory=lambda: MappingProxyType({}))
    """All backends of these; where one is named as well, the sooner counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Awaited:
    """What of that somebody waits for until its last session has gone."""

    listeners: frozenset[Address] = frozenset()
    backends: frozenset[BackendName] = frozenset()
    clusters: frozenset[str] = frozenset()

    @property
    def anything(self) -> bool:
        return bool(self.listeners or self.backends or self.clusters)

    def removed(self, state: State) -> list[tuple[str, str, Address]]:
        """The backends among it, with those of its clusters, by cluster, id, and where they are in `state`."""
        named = {(cluster_id, each) for cluster_id in self.clusters for each in state.backends.get(cluster_id, {})}
        return [
            (cluster_id, backend_id, state.backends[cluster_id][backend_id].address)
            for cluster_id, backend_id in sorted(named | self.backends)
            if backend_id in state.backends.get(cluster_id, {})
        ]
