"""The State in force and what the configuration file says now, made one: at a reload and at a start with a journal.

A record is the file's where the file declared it when it was last read, and the socket's otherwise. What stays as it is
stays the same object, so that finding the difference later is cheap.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import fields, replace
from typing import TypeVar

from sozu_trio.config.certificates import ListenerCertificate
from sozu_trio.config.clusters import Backend
from sozu_trio.config.program import Settings
from sozu_trio.routing.state import EMPTY, CertificateKey, State, with_declared

K = TypeVar("K", bound=Hashable)
R = TypeVar("R")


def reload(state: State, declared: State, *, prune: bool = False) -> State:
    """`state` made equal to the file wherever the file says something, or used to.

    What was added over the socket stays, rules behind those of the file, unless `prune`. Settings are the file's.
    """
    before = state if prune else state.declared or EMPTY
    reloaded = State(
        _follow(state.listeners, before.listeners, declared.listeners),
        _follow(state.clusters, before.clusters, declared.clusters),
        _follow(state.http_frontends, before.http_frontends, declared.http_frontends),
        _follow(state.tcp_frontends, before.tcp_frontends, declared.tcp_frontends),
        _of_each_cluster(_follow, state, before, declared),
        _follow(state.certificates, before.certificates, declared.certificates),
        declared.settings,
    )
    return with_declared(reloaded, declared)


def restart(state: State, declared: State) -> State:
    """`state` with what has changed in the file since it was last read, and nothing else: what was changed over the
    socket survives, even where the file declares it.
    """
    before = state.declared or EMPTY
    restarted = State(
        _catch_up(state.listeners, before.listeners, declared.listeners),
        _catch_up(state.clusters, before.clusters, declared.clusters),
        _catch_up(state.http_frontends, before.http_frontends, declared.http_frontends),
        _catch_up(state.tcp_frontends, before.tcp_frontends, declared.tcp_frontends),
        _of_each_cluster(_catch_up, state, before, declared),
        _catch_up(state.certificates, before.certificates, declared.certificates),
        _changed_settings(state.settings, before.settings, declared.settings),
    )
    return with_declared(restarted, declared)


def renew(state: State, certificates: Mapping[CertificateKey, ListenerCertificate]) -> State:
    """`state` with what is other in the certificates that the file names, as `restart`, and nothing else."""
    before = state.declared or EMPTY
    kept = {key: _same(before.certificates.get(key), record) for key, record in certificates.items()}
    declared = replace(before, certificates=_same_mapping(before.certificates, kept))
    renewed = _catch_up(state.certificates, before.certificates, declared.certificates)
    return with_declared(replace(state, certificates=renewed), declared)


def roll_back(state: State, then: State) -> State:
    """`then`, with what the file says as it is in `state`, and its certificates as their files hold them now: one that
    was renewed since would be back until it expires, as no file changes for that.

    A certificate is the renewed form of another one of the same listener that shares a name with it.
    """
    before, now = (then.declared or EMPTY).certificates, (state.declared or EMPTY).certificates
    new = {key: record for key, record in now.items() if key not in before}
    certificates: dict[CertificateKey, ListenerCertificate] = {}
    for key, record in then.certificates.items():
        is_gone = key in before and key not in now
        renewed = {each: other for each, other in new.items() if is_gone and _renews(other, record)}
        certificates |= renewed or {key: record}
    return with_declared(replace(then, certificates=_same_mapping(then.certificates, certificates)), state.declared)


def _renews(record: ListenerCertificate, before: ListenerCertificate) -> bool:
    if record.address != before.address:
        return False
    one, other = record.certificate, before.certificate
    names, others = {*one.names, *one.addresses}, {*other.names, *other.addresses}
    return names == others or not names.isdisjoint(others)


def _follow(present: Mapping[K, R], before: Mapping[K, R], declared: Mapping[K, R]) -> Mapping[K, R]:
    followed = {key: _same(present.get(key), record) for key, record in declared.items()}
    others = {key: record for key, record in present.items() if key not in declared and key not in before}
    return _same_mapping(present, {**followed, **others})


def _catch_up(present: Mapping[K, R], before: Mapping[K, R], declared: Mapping[K, R]) -> Mapping[K, R]:
    """Where the file lists other things or in another order than before, its order counts and comes first."""
    keys = dict.fromkeys([*present, *declared] if list(before) == list(declared) else [*declared, *present])
    caught_up = {}
    for key in keys:
        now = declared.get(key)
        record = present.get(key) if before.get(key) == now else now
        if record is not None:
            caught_up[key] = _same(present.get(key), record)
    return _same_mapping(present, caught_up)


def _same(present: R | None, record: R) -> R:
    return present if present is not None and present == record else record


def _same_mapping(present: Mapping[K, R], merged: Mapping[K, R]) -> Mapping[K, R]:
    return present if list(present.items()) == list(merged.items()) else merged


Merge = Callable[[Mapping[str, Backend], Mapping[str, Backend], Mapping[str, Backend]], Mapping[str, Backend]]
"""What is in force, what the file said before and what it says now → what is to be in force."""


def _of_each_cluster(merge: Merge, state: State, before: State, declared: State) -> Mapping[str, Mapping[str, Backend]]:
    merged = {}
    for cluster_id in dict.fromkeys([*state.backends, *declared.backends]):
        backends = merge(*(each.backends.get(cluster_id, {}) for each in (state, before, declared)))
        if backends:
            merged[cluster_id] = backends
    return _same_mapping(state.backends, merged)


def _changed_settings(present: Settings, before: Settings, declared: Settings) -> Settings:
    changed = {each.name for each in fields(Settings) if getattr(before, each.name) != getattr(declared, each.name)}
    return replace(present, **{name: getattr(declared, name) for name in changed})
