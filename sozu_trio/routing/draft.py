"""A State that changes are made to before it is one: what it was, and what has become of some of its records.

Looking something up, putting and taking cost no more in a large State than in a small one; the State itself is made
once, at the end. Order is that of `delta.py`: what is replaced stays at its place, what is new goes to the end.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Generic, TypeVar

from sozu_trio.config.addresses import Address
from sozu_trio.config.certificates import ListenerCertificate
from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend, TcpFrontend
from sozu_trio.config.listeners import Listener
from sozu_trio.routing.delta import Delta, amend
from sozu_trio.routing.state import CertificateKey, FrontendKey, ListenerKey, State

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class Records(Generic[K, R]):
    """The records of one kind."""

    def __init__(self, before: Mapping[K, R]) -> None:
        self.before = before
        self._put: dict[K, R] = {}
        self._gone: dict[K, None] = {}

    def get(self, key: K) -> R | None:
        if key in self._put:
            return self._put[key]
        return None if key in self._gone else self.before.get(key)

    def __contains__(self, key: K) -> bool:
        return self.get(key) is not None

    def __iter__(self) -> Iterator[K]:
        """The keys, in no order that anything hangs on."""
        yield from (key for key in self.before if key not in self._gone and key not in self._put)
        yield from self._put

    def kept(self) -> Iterable[R]:
        """The records that are as they were before."""
        if not self._gone and not self._put:
            return self.before.values()
        return (record for key, record in self.before.items() if key not in self._gone and key not in self._put)

    def put(self, key: K, record: R) -> None:
        """Add it, or replace the one of the same key."""
        if key not in self._gone and self.before.get(key) == record:
            self._put.pop(key, None)
        else:
            self._put[key] = record

    def take(self, key: K) -> None:
        """Remove one that is there."""
        self._put.pop(key, None)
        if key in self.before:
            self._gone[key] = None

    @property
    def gone(self) -> tuple[K, ...]:
        """What is no longer there, or was put again later."""
        return tuple(self._gone)

    @property
    def put_ones(self) -> tuple[R, ...]:
        """What is new, or other than it was."""
        return tuple(self._put.values())


class Draft:
    """A State in the making."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.listeners: Records[ListenerKey, Listener] = Records(state.listeners)
        self.clusters: Records[str, Cluster] = Records(state.clusters)
        self.http_frontends: Records[FrontendKey, HttpFrontend] = Records(state.http_frontends)
        self.tcp_frontends: Records[Address, TcpFrontend] = Records(state.tcp_frontends)
        self.certificates: Records[CertificateKey, ListenerCertificate] = Records(state.certificates)
        self.settings = state.settings
        self._backends: dict[str, Records[str, Backend]] = {}

    def backends(self, cluster_id: str) -> Records[str, Backend]:
        """Those of one cluster, which need not exist."""
        if cluster_id not in self._backends:
            self._backends[cluster_id] = Records(self._state.backends.get(cluster_id, {}))
        return self._backends[cluster_id]

    def delta(self) -> Delta:
        """What has changed so far."""
        return Delta(
            gone_listeners=self.listeners.gone,
            gone_clusters=self.clusters.gone,
            gone_http_frontends=self.http_frontends.gone,
            gone_tcp_frontends=self.tcp_frontends.gone,
            gone_backends=tuple((cluster_id, key) for cluster_id, each in self._backends.items() for key in each.gone),
            gone_certificates=self.certificates.gone,
            listeners=self.listeners.put_ones,
            clusters=self.clusters.put_ones,
            http_frontends=self.http_frontends.put_ones,
            tcp_frontends=self.tcp_frontends.put_ones,
            backends=tuple(backend for each in self._backends.values() for backend in each.put_ones),
            certificates=self.certificates.put_ones,
            settings=None if self.settings == self._state.settings else self.settings,
        )

    def state(self) -> State:
        """The State that has come of it; where nothing has changed, the one it was."""
        delta = self.delta()
        return amend(self._state, delta) if delta else self._state
