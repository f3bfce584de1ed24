"""The difference between two States as a value: what is new or other, and the keys of what is gone.

It is what travels to workers and into the journal, so its size goes with the change and not with the State.
`amend(a, diff(a, b)) == b`, and rules whose order is their meaning come out in the order of `b`.
"""

from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from itertools import compress, islice
from operator import is_not, or_
from typing import Final, Generic, TypeVar

from sozu_trio.config.addresses import Address
from sozu_trio.config.certificates import ListenerCertificate
from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend, PathType, Position, TcpFrontend
from sozu_trio.config.listeners import Listener
from sozu_trio.config.program import Settings
from sozu_trio.routing.state import (
    EMPTY,
    CertificateKey,
    FrontendKey,
    ListenerKey,
    State,
    certificate_key,
    frontend_key,
    listener_key,
    with_declared,
)

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")

BackendName = tuple[str, str]
"""The ids of a cluster and of one of its backends."""
_Clusters = Mapping[str, Mapping[str, Backend]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """First all that is gone goes, then what is new or other is put.

    What is replaced keeps its place in the order; what is gone and put again goes to the end.
    """

    gone_listeners: tuple[ListenerKey, ...] = ()
    gone_clusters: tuple[str, ...] = ()
    gone_http_frontends: tuple[FrontendKey, ...] = ()
    gone_tcp_frontends: tuple[Address, ...] = ()
    gone_backends: tuple[BackendName, ...] = ()
    gone_certificates: tuple[CertificateKey, ...] = ()
    listeners: tuple[Listener, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    http_frontends: tuple[HttpFrontend, ...] = ()
    tcp_frontends: tuple[TcpFrontend, ...] = ()
    backends: tuple[Backend, ...] = ()
    certificates: tuple[ListenerCertificate, ...] = ()
    settings: Settings | None = None
    """None = as they were."""
    declared: "Delta | None" = None
    """What becomes of the State the file declared; None = nothing."""

    def __len__(self) -> int:
        """How many records it touches."""
        return sum(len(getattr(self, name)) for name in _RECORDS)

    def __bool__(self) -> bool:
        return self != NOTHING


_RECORDS = [each.name for each in fields(Delta) if each.name not in ("settings", "declared")]
NOTHING: Final = Delta()


def is_ordered(frontend: HttpFrontend) -> bool:
    """Whether it matters which of two such rules was declared first."""
    if frontend.position is not Position.TREE or frontend.path_type is PathType.REGEX:
        return True
    return "/" in frontend.hostname


def diff(before: State, after: State) -> Delta:
    """What makes `after` of `before`. Linear in the States, with next to nothing for records that are the same objects
    in the same order: where one of 10,000 clusters has changed it takes a millisecond.
    """
    listeners, clusters = _unlike(before.listeners, after.listeners), _unlike(before.clusters, after.clusters)
    http_frontends = _unlike(before.http_frontends, after.http_frontends)
    moved: set[FrontendKey] = set()
    if any(map(is_ordered, http_frontends[1].values())):
        # What follows these may have to be put behind them.
        http_frontends = before.http_frontends, after.http_frontends
        moved.update(_moved(*http_frontends))
    tcp_frontends = _unlike(before.tcp_frontends, after.tcp_frontends)
    backends, certificates = _unlike(before.backends, after.backends), _unlike(before.certificates, after.certificates)
    declared = None
    if before.declared is not after.declared:
        declared = diff(before.declared or EMPTY, after.declared or EMPTY) or None
    return Delta(
        gone_listeners=_gone(*listeners),
        gone_clusters=_gone(*clusters),
        gone_http_frontends=(*_gone(*http_frontends), *moved),
        gone_tcp_frontends=_gone(*tcp_frontends),
        gone_backends=tuple(_gone_backends(*backends)),
        gone_certificates=_gone(*certificates),
        listeners=_put(*listeners),
        clusters=_put(*clusters),
        http_frontends=_put(*http_frontends, moved),
        tcp_frontends=_put(*tcp_frontends),
        backends=tuple(_put_backends(*backends)),
        certificates=_put(*certificates),
        settings=None if before.settings == after.settings else after.settings,
        declared=declared,
    )


def _unlike(before: Mapping[K, R], after: Mapping[K, R]) -> tuple[Mapping[K, R], Mapping[K, R]]:
    """Both without what they begin with, and what they end with, in common: the very same keys and records. Of a copy
    in which little was changed little is left, and it is found without a step of Python's for each record.
    """
    if before is after:
        return {}, {}
    shorter = min(len(before), len(after))
    views = before, after, before.values(), after.values()
    first = _in_common(*views, most=shorter)
    last = _in_common(*(list(view)[::-1] for view in views), most=shorter - first)
    before_part, after_part = (dict(islice(each.items(), first, len(each) - last)) for each in (before, after))
    return before_part, after_part


def _in_common(
    keys: Iterable[object],
    others: Iterable[object],
    records: Iterable[object],
    other_records: Iterable[object],
    *,
    most: int,
) -> int:
    """How many they begin with that are the same objects; no more than `most`, which none has fewer of."""
    differ = map(or_, map(is_not, keys, others), map(is_not, records, other_records))
    return next(compress(range(most), differ), most)


def _gone(before: Mapping[K, R], after: Mapping[K, R]) -> tuple[K, ...]:
    return tuple(key for key in before if key not in after)


def _put(before: Mapping[K, R], after: Mapping[K, R], moved: Iterable[K] = ()) -> tuple[R, ...]:
    return tuple(record for key, record in after.items() if key in moved or _differs(before.get(key), record))


def _differs(before: R | None, after: R) -> bool:
    return before is not after and before != after


def _gone_backends(before: _Clusters, after: _Clusters) -> Iterator[BackendName]:
    for cluster_id, backends in before.items():
        for backend_id in _gone(backends, after.get(cluster_id, {})):
            yield cluster_id, backend_id


def _put_backends(before: _Clusters, after: _Clusters) -> Iterator[Backend]:
    for cluster_id, backends in after.items():
        yield from _put(before.get(cluster_id, {}), backends)


def _moved(before: Mapping[FrontendKey, HttpFrontend], after: Mapping[FrontendKey, HttpFrontend]) -> list[FrontendKey]:
    """Those that stay and whose order matters, but that would come out in the wrong place unless put at the end.

    What stays in place is the longest beginning of the new order that goes in the old order, too.
    """
    places = {key: place for place, key in enumerate(before)}
    moved: list[FrontendKey] = []
    last = -1
    for key, frontend in after.items():
        if not is_ordered(frontend):
            continue
        place = places.get(key)
        if place is None:
            # It is put at the end, so whatever follows has to be put behind it.
            last = len(places)
        elif place < last:
            moved.append(key)
            last = len(places)
        else:
            last = place
    return moved


def amend(state: State, *deltas: Delta) -> State:
    """`state` after `deltas`, one after the other. Raises KeyError for what is gone and never was there."""
    listeners, clusters = _Draft(state.listeners), _Draft(state.clusters)
    http_frontends, tcp_frontends = _Draft(state.http_frontends), _Draft(state.tcp_frontends)
    backends, certificates = _Backends(state.backends), _Draft(state.certificates)
    settings = state.settings
    for delta in deltas:
        listeners.amend(delta.gone_listeners, ((listener_key(each), each) for each in delta.listeners))
        clusters.amend(delta.gone_clusters, ((each.cluster_id, each) for each in delta.clusters))
        http_frontends.amend(delta.gone_http_frontends, ((frontend_key(each), each) for each in delta.http_frontends))
        tcp_frontends.amend(delta.gone_tcp_frontends, ((each.address, each) for each in delta.tcp_frontends))
        backends.amend(delta.gone_backends, delta.backends)
        certificates.amend(delta.gone_certificates, ((certificate_key(each), each) for each in delta.certificates))
        settings = delta.settings or settings
    amended = State(
        listeners.records,
        clusters.records,
        http_frontends.records,
        tcp_frontends.records,
        backends.records,
        certificates.records,
        settings,
        state.declared,
    )
    declared = [delta.declared for delta in deltas if delta.declared is not None]
    return with_declared(amended, amend(state.declared or EMPTY, *declared)) if declared else amended


class _Draft(Generic[K, R]):
    """A mapping that is copied before the first change to it."""

    def __init__(self, records: Mapping[K, R]) -> None:
        self.records = records
        self._copy: dict[K, R] | None = None

    def amend(self, gone: Iterable[K], put: Iterable[tuple[K, R]]) -> None:
        for key in gone:
            del self._own()[key]
        for key, record in put:
            self._own()[key] = record

    def _own(self) -> dict[K, R]:
        if self._copy is None:
            self.records = self._copy = dict(self.records)
        return self._copy


class _Backends:
    """A draft of drafts: of the clusters, and of the backends of each cluster that changes."""

    def __init__(self, clusters: Mapping[str, Mapping[str, Backend]]) -> None:
        self._clusters = clusters
        self._drafts: dict[str, _Draft[str, Backend]] = {}

    def amend(self, gone: Iterable[BackendName], put: Iterable[Backend]) -> None:
        for cluster_id, backend_id in gone:
            self._draft(cluster_id).amend((backend_id,), ())
        for backend in put:
            self._draft(backend.cluster_id).amend((), ((backend.backend_id, backend),))

    def _draft(self, cluster_id: str) -> _Draft[str, Backend]:
        draft = self._drafts.get(cluster_id)
        if draft is None:
            draft = self._drafts[cluster_id] = _Draft(self._clusters.get(cluster_id, {}))
        return draft

    @property
    def records(self) -> Mapping[str, Mapping[str, Backend]]:
        if not self._drafts:
            return self._clusters
        clusters = dict(self._clusters)
        for cluster_id, draft in self._drafts.items():
            if draft.records:
                clusters[cluster_id] = draft.records
            else:
                clusters.pop(cluster_id, None)
        return clusters
