"""What client addresses hold: places in the proxy as a whole, and in clusters that their connections were routed to.

A connection takes a place at most once in each, and keeps all of them until it ends, also where it moves to another
worker: what it holds goes along, since a key is the same in all of them. Who came while there was no limit is not
counted, so that a limit which is off costs nothing.
"""

import socket
from collections.abc import Mapping

from sozu_trio.config.clusters import Cluster
from sozu_trio.config.program import Settings
from sozu_trio.nursery.tally import Tally

Held = dict[str, int]
"""What one connection holds: id of the cluster → key in the Tally. `PROXY` stands for the proxy as a whole."""
PROXY = ""
MOST_HELD = 64
"""Places of one connection, after which it is to end: one that visits all clusters must not fill the Tally."""


class Places:
    """Takes and gives back places, which all workers count together: a limit is exceeded by at most one for each other
    worker.
    """

    __slots__ = ("per_cluster", "per_source", "tally")

    def __init__(self, tally: Tally, settings: Settings) -> None:
        self.tally = tally
        self.follow(settings)

    def follow(self, settings: Settings) -> None:
        """Go by `settings` from now on; who is there already stays."""
        self.per_source = settings.max_connections_per_source
        """Connections of one address; 0 = any number."""
        self.per_cluster = settings.max_connections_per_ip
        """Of these, routed to one cluster which says nothing else; 0 = any number."""

    def arrive(self, held: Held, host: str) -> bool:
        """Take a place in the proxy for a connection of `host`; False where that has as many as it may."""
        return not self.per_source or PROXY in held or self._take(held, PROXY, host, self.per_source)

    def enter(self, held: Held, cluster: Cluster, host: str) -> bool:
        """Take a place in `cluster`, the same way."""
        limit = cluster.max_connections_per_ip
        if limit is None:
            limit = self.per_cluster
        return not limit or cluster.cluster_id in held or self._take(held, cluster.cluster_id, host, limit)

    def _take(self, held: Held, cluster_id: str, host: str, limit: int) -> bool:
        key = self.tally.key(b"place", cluster_id.encode(), source_of(host))
        if not self.tally.take(key, limit):
            return False
        held[cluster_id] = key
        return True

    def go_on(self, held: Mapping[str, int]) -> Held:
        """Take, whatever the limits, what a connection held in the worker before; returns what it holds here."""
        return {cluster_id: key for cluster_id, key in held.items() if self.tally.add(key)}

    def leave(self, held: Held) -> None:
        """The connection has ended here."""
        for key in held.values():
            self.tally.give(key)
        held.clear()


def source_of(host: str) -> bytes:
    """What counts as one address: of IPv6 the first half, as that is what one customer gets; 4 or 8 bytes.

    `host` is an IP literal, perhaps with a zone.
    """
    if ":" not in host:
        return socket.inet_pton(socket.AF_INET, host)
    packed = socket.inet_pton(socket.AF_INET6, host.partition("%")[0])
    return packed[12:] if packed.startswith(b"\0" * 10 + b"\xff\xff") else packed[:8]
