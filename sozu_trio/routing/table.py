"""A State compiled for look-up. A worker holds one Table, every request takes its reference at its start and keeps it.

Everything a request may need of the configuration is reached from here without another look-up by name. How one is
made is told by `compile.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from sozu_trio.config.addresses import Address
from sozu_trio.config.listeners import Listener
from sozu_trio.routing.decisions import ClusterEntry, Decision, Outcome
from sozu_trio.routing.http_routes import HttpRoutes
from sozu_trio.routing.redirects import Redirect
from sozu_trio.routing.resolver import Resolver
from sozu_trio.routing.state import ListenerKey

__all__ = ["NO_TABLE", "ClusterEntry", "Decision", "HttpRoutes", "Outcome", "Redirect", "Resolver", "Table"]


@dataclass(frozen=True, slots=True)
class Table:
    """`http` has routes for every http and https listener and for nobody else, `tcp` a decision for every tcp listener,
    if only NOT_FOUND.
    """

    generation: int
    listeners: Mapping[ListenerKey, Listener]
    clusters: Mapping[str, ClusterEntry]
    """Those that are declared. A frontend that leads to another one has an entry without backends."""
    http: Mapping[Address, HttpRoutes]
    tcp: Mapping[Address, Decision]
    certificates: Mapping[Address, Resolver] = field(default_factory=lambda: MappingProxyType({}))
    """Of every https listener, if only NO_CERTIFICATES."""
    client_fields: frozenset[bytes] = frozenset()
    """Fields that no client may send, as `client_fields.py` spells them."""


NO_TABLE: Final = Table(0, {}, {}, {}, {}, {})
"""That of the empty State."""
