"""What the proxy has been told, as one immutable value with a key for every record.

Keys say what makes two records the same thing. Whether records fit together (a frontend's cluster exists, say) is asked
where they are loaded and where they are compiled.
"""

from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final, NamedTuple, TypeVar

from sozu_trio.config.addresses import Address
from sozu_trio.config.certificates import ListenerCertificate
from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend, PathType, TcpFrontend
from sozu_trio.config.listeners import Listener
from sozu_trio.config.patterns import canonical_host
from sozu_trio.config.program import Settings

ListenerKey = tuple[str, Address]
"""The transport ("tcp") and the address, so that UDP may share a port with TCP."""

CertificateKey = tuple[Address, str]
"""The listener's address and the certificate's fingerprint."""

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


class FrontendKey(NamedTuple):
    """What a rule asks of a request. Two that differ only in what becomes of it, or in position, are one."""

    address: Address
    hostname: str
    """As `canonical_host` spells it."""
    path_type: PathType
    path: str
    method: str | None


@dataclass(frozen=True, slots=True)
class State:
    """All records by key, in the order they were declared; `http_frontends` relies on it."""

    listeners: Mapping[ListenerKey, Listener]
    clusters: Mapping[str, Cluster]
    http_frontends: Mapping[FrontendKey, HttpFrontend]
    tcp_frontends: Mapping[Address, TcpFrontend]
    backends: Mapping[str, Mapping[str, Backend]]
    """By cluster, then by backend id. A cluster without backends has no entry."""
    certificates: Mapping[CertificateKey, ListenerCertificate] = field(default_factory=lambda: MappingProxyType({}))
    settings: Settings = field(default_factory=Settings)
    declared: "State | None" = None
    """What the configuration file said when it was last read; None for nothing. What is in it is of origin `file`."""

    def check(self) -> None:
        """Assert what every State promises; for tests."""
        if self.declared is not None:
            assert self.declared.declared is None
            assert self.declared != EMPTY
            self.declared.check()
        assert all(key == listener_key(listener) for key, listener in self.listeners.items())
        assert all(key == cluster.cluster_id for key, cluster in self.clusters.items())
        assert all(key == frontend_key(frontend) for key, frontend in self.http_frontends.items())
        assert all(key == frontend.address for key, frontend in self.tcp_frontends.items())
        assert all(key == certificate_key(each) for key, each in self.certificates.items())
        assert all(self.backends.values())
        for cluster_id, backends in self.backends.items():
            assert all((cluster_id, key) == (b.cluster_id, b.backend_id) for key, b in backends.items())


EMPTY: Final = State({}, {}, {}, {}, {}, {})


def with_declared(state: State, declared: State | None) -> State:
    """`state`, remembering `declared` as what the file says."""
    if declared is not None:
        declared = replace(declared, declared=None)
    return replace(state, declared=None if declared == EMPTY else declared)


def listener_key(listener: Listener) -> ListenerKey:
    """Who else may not listen there."""
    return "tcp", listener.address


def certificate_key(record: ListenerCertificate) -> CertificateKey:
    return record.address, record.certificate.fingerprint


def frontend_key(frontend: HttpFrontend) -> FrontendKey:
    """What makes a rule this rule. Raises ValueError for a hostname that is no pattern."""
    host = canonical_host(frontend.hostname)
    return FrontendKey(frontend.address, host, frontend.path_type, frontend.path, frontend.method)


def declare(
    listeners: Iterable[Listener],
    clusters: Iterable[Cluster],
    http_frontends: Iterable[HttpFrontend],
    tcp_frontends: Iterable[TcpFrontend],
    backends: Iterable[Backend],
    settings: Settings = Settings(),  # noqa: B008 - it is frozen
    certificates: Iterable[ListenerCertificate] = (),
) -> State:
    """The State that holds exactly these. Raises ValueError for two of one key."""
    return State(
        _keyed("listener", ((listener_key(listener), listener) for listener in listeners)),
        _keyed("cluster", ((cluster.cluster_id, cluster) for cluster in clusters)),
        _keyed("http frontend", ((frontend_key(frontend), frontend) for frontend in http_frontends)),
        _keyed("tcp frontend", ((frontend.address, frontend) for frontend in tcp_frontends)),
        _by_cluster(backends),
        _keyed("certificate", ((certificate_key(each), each) for each in certificates)),
        settings,
    )


def _by_cluster(backends: Iterable[Backend]) -> dict[str, dict[str, Backend]]:
    named = _keyed("backend", (((backend.cluster_id, backend.backend_id), backend) for backend in backends))
    clusters: dict[str, dict[str, Backend]] = {}
    for (cluster_id, backend_id), backend in named.items():
        clusters.setdefault(cluster_id, {})[backend_id] = backend
    return clusters


def _keyed(what: str, pairs: Iterable[tuple[K, R]]) -> dict[K, R]:
    records: dict[K, R] = {}
    for key, record in pairs:
        if key in records:
            raise ValueError(f"{what} declared twice: {record} and {records[key]}")
        records[key] = record
    return records
