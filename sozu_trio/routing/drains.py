"""How long the sessions of what is removed may go on; what is not named here may go on for ever."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sozu_trio.routing.delta import BackendName
from sozu_trio.routing.state import ListenerKey


def grace_of(timeout: float) -> float | None:
    """A timeout of the configuration as a grace: 0 means for ever, which is None."""
    return None if timeout in {0, math.inf} else timeout


@dataclass(frozen=True, slots=True, kw_only=True)
class Drains:
    """Seconds from the commit, after which they are cut: 0 = at once, None = never."""

    listeners: Mapping[ListenerKey, float | None] = field(default_factory=lambda: MappingProxyType({}))
    backends: Mapping[BackendName, float | None] = field(default_factory=lambda: MappingProxyType({}))
