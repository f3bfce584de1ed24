"""Frontends of a whole State that lie crosswise: their listener or their cluster speaks otherwise than they do.

No change over the socket leads there (`links.py`); what is put together from a file and from what came over the socket
may. Such a frontend is dormant: compiled as though what it does not fit were not there.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sozu_trio.config.clusters import HttpFrontend, TcpFrontend
from sozu_trio.config.listeners import carried_by, protocol_of
from sozu_trio.config.report import an
from sozu_trio.config.values import show
from sozu_trio.routing.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Crosswise:
    """One thing that `frontend` does not fit, in words."""

    frontend: HttpFrontend | TcpFrontend
    what: str


def crosswise(state: State) -> Iterator[Crosswise]:
    """All of them, some 0.5 µs for a frontend that fits. Listeners and clusters that are not there may come yet."""
    listeners = {each.address: each for each in state.listeners.values()}
    clusters = {cluster_id: each.protocol for cluster_id, each in state.clusters.items()}
    frontends: list[tuple[str, HttpFrontend | TcpFrontend]] = [
        *(("http", frontend) for frontend in state.http_frontends.values()),
        *(("tcp", frontend) for frontend in state.tcp_frontends.values()),
    ]
    for speaks, frontend in frontends:
        if (listener := listeners.get(frontend.address)) is not None and carried_by(listener) != speaks:
            what = f"found {an(protocol_of(listener))} listener there; want one that speaks {speaks}"
            yield Crosswise(frontend=frontend, what=what)
        if frontend.cluster_id is not None and (cluster := clusters.get(frontend.cluster_id)) not in (None, speaks):
            what = f"found {show(frontend.cluster_id)}, {an(cluster)} cluster; want one that speaks {speaks}"
            yield Crosswise(frontend=frontend, what=what)
