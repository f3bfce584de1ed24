"""What a look-up answers. Every Decision is made when the Table is, so that finding one allocates nothing.

How an answer is found is told by `http_routes.py`; what becomes of the request is the proxy's business.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend


@dataclass(frozen=True, slots=True)
class ClusterEntry:
    """A cluster with its backends, in the order they were declared; there may be none."""

    cluster: Cluster
    backends: tuple[Backend, ...]


class Outcome(enum.Enum):
    FORWARD = "forward"
    DENY = "deny"
    NOT_FOUND = "not found"


@dataclass(frozen=True, slots=True)
class Decision:
    """`cluster` is there exactly when the outcome is FORWARD; `frontend` is the HTTP frontend that matched, if any."""

    outcome: Outcome
    cluster: ClusterEntry | None
    frontend: HttpFrontend | None
    tags: Mapping[str, str]


Rule = tuple[HttpFrontend, Decision]
"""An HTTP frontend and where it leads."""

NOT_FOUND: Final = Decision(Outcome.NOT_FOUND, None, None, MappingProxyType({}))
