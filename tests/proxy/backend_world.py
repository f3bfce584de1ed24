"""All backends of a worker, a clock and what was told."""

import socket
from collections.abc import Mapping

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster
from sozu_trio.proxy.backend_states import BackendStates
from sozu_trio.proxy.backends import BackendState, Connection
from sozu_trio.proxy.connect import give_back
from sozu_trio.proxy.stream import Stream
from sozu_trio.routing.slices import finish
from sozu_trio.routing.table import ClusterEntry
from tests.nursery.counting import alone

API = Cluster(cluster_id="api", idle_timeout=30)
HERE, THERE = Address("127.0.0.1", 1), Address("127.0.0.1", 2)
EMPTIED = "REMOVED_BACKEND_HAS_NO_CONNECTIONS"


def backend(name: str = "one", *, weight: int = 100, backup: bool = False, address: Address = HERE) -> Backend:
    return Backend(cluster_id="api", backend_id=name, address=address, weight=weight, backup=backup)


def entries(*backends: Backend, api: Cluster = API) -> dict[str, ClusterEntry]:
    return {"api": ClusterEntry(api, backends)}


class World:
    """BackendStates with what they told, and connections whose other ends a test holds."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []
        self.states = BackendStates(lambda: 0.0, alone(), lambda *event: self.told.append(event))
        self._sockets: list[socket.socket] = []

    def swap(self, *backends: Backend, api: Cluster = API) -> None:
        self.swap_to(entries(*backends, api=api))

    def swap_to(self, entries: Mapping[str, ClusterEntry]) -> None:
        self.states.swap(entries)
        finish(self.states.follow())

    def state(self, name: str = "one") -> BackendState:
        (found,) = [state for state in self.states.clusters["api"] if state.backend.backend_id == name]
        return found

    def open(self, to: BackendState) -> Connection:
        near, far = socket.socketpair()
        near.setblocking(False)
        self._sockets += [near, far]
        to.count(1)
        return to.use(Stream(near, 0))

    def give_back(self, connection: Connection, now: float = 0) -> None:
        give_back(connection, self.states.clusters["api"], now)

    def leave(self, connection: Connection) -> None:
        """The backend closes it."""
        self._sockets[self._sockets.index(connection.stream.sock) + 1].close()

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


def is_open(connection: Connection) -> bool:
    return not connection.stream.is_closed
