"""Backends that were removed and may serve on for a while: the deadline of each, unless it comes back before."""

import logging
from collections.abc import Callable

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.control.messages import Cut
from sozu_trio.errors import ChannelError
from sozu_trio.routing.state import State
from sozu_trio.telemetry.plural import count

log = logging.getLogger(__name__)

Removed = tuple[str, str, Address]
"""The ids of a cluster and of its backend, and where that was."""
CutBackend = Callable[[str, str, Address], int]
"""Cuts everything of a removed backend; returns how many connections that were."""


class PendingCuts:
    """What is still to be cut."""

    def __init__(self, cut: CutBackend) -> None:
        self._cut = cut
        self._pending: dict[Removed, trio.CancelScope] = {}

    async def wait_and_cut(self, removed: Removed, grace: float) -> None:
        """Cut what `removed` serves after `grace` seconds, unless it is called off."""
        with trio.CancelScope() as scope:
            self._pending[removed] = scope
            try:
                await trio.sleep(grace)
                cut = count(self._cut(*removed), "connection")
                log.info("cluster %s, backend %s at %s: %s cut after its removal", *removed, cut)
            finally:
                if self._pending.get(removed) is scope:
                    del self._pending[removed]

    def follow(self, state: State) -> None:
        """Call off the cut of every backend that `state` has again."""
        for removed, scope in list(self._pending.items()):
            if is_there(removed, state):
                del self._pending[removed]
                scope.cancel(reason="the backend is back")


def removed_by(message: Cut, state: State) -> Removed:
    """What `message` is about. Raises ChannelError for a backend that `state` has."""
    removed = message.cluster_id, message.backend_id, message.address
    if is_there(removed, state):
        raise ChannelError(f"backend {message.backend_id} of cluster {message.cluster_id} is there to stay")
    return removed


def is_there(removed: Removed, state: State) -> bool:
    """Whether it is not removed after all, or has come back; with its cluster, without which it serves nobody."""
    cluster_id, backend_id, address = removed
    if cluster_id not in state.clusters:
        return False
    backend = state.backends.get(cluster_id, {}).get(backend_id)
    return backend is not None and backend.address == address
