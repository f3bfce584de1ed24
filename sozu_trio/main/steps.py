"""What a change of State does, step by step, as people read it before or after."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

from sozu_trio.control.records import document_of, without_pem
from sozu_trio.routing.delta import Delta, amend
from sozu_trio.routing.moves import moves
from sozu_trio.routing.spoken import spoken, spoken_certificate
from sozu_trio.routing.state import FrontendKey, State, certificate_key, frontend_key, listener_key
from sozu_trio.telemetry.plural import count


def steps(before: State, delta: Delta) -> Iterator[dict[str, Any]]:
    """What `delta` does: action, kind, name, and for a change each field as [old, new]. A rule that only moves is of
    the action `move`, with the rule it comes `after`, null where it is the first of its listener and position.
    """
    yield from (_step("remove", "listener", str(key[1])) for key in delta.gone_listeners)
    yield from (_step("remove", "cluster", key) for key in delta.gone_clusters)
    put_again = {frontend_key(each) for each in delta.http_frontends}
    yield from (_step("remove", "frontend", _rule(key)) for key in delta.gone_http_frontends if key not in put_again)
    yield from (_step("remove", "frontend", str(key)) for key in delta.gone_tcp_frontends)
    yield from (_step("remove", "backend", "/".join(key)) for key in delta.gone_backends)
    put_certificates = {certificate_key(each) for each in delta.certificates}
    gone = (before.certificates[each] for each in delta.gone_certificates if each not in put_certificates)
    yield from (_step("remove", "certificate", spoken_certificate(each)) for each in gone)
    for listener in delta.listeners:
        yield _put("listener", str(listener.address), before.listeners.get(listener_key(listener)), listener)
    for cluster in delta.clusters:
        yield _put("cluster", cluster.cluster_id, before.clusters.get(cluster.cluster_id), cluster)
    for rule in delta.http_frontends:
        key = frontend_key(rule)
        if rule != before.http_frontends.get(key):
            yield _put("frontend", _rule(key), before.http_frontends.get(key), rule)
    if not put_again.isdisjoint(delta.gone_http_frontends):
        yield from _moves(before, delta)
    for frontend in delta.tcp_frontends:
        yield _put("frontend", str(frontend.address), before.tcp_frontends.get(frontend.address), frontend)
    for backend in delta.backends:
        old = before.backends.get(backend.cluster_id, {}).get(backend.backend_id)
        yield _put("backend", f"{backend.cluster_id}/{backend.backend_id}", old, backend)
    for certificate in delta.certificates:
        held = before.certificates.get(certificate_key(certificate))
        yield _put("certificate", spoken_certificate(certificate), held, certificate)
    if delta.settings is not None:
        yield _put("settings", "global keys", before.settings, delta.settings)
    if delta.declared is not None and not dataclasses.replace(delta, declared=None):
        # Nothing is served differently, but who removes what from the file later finds it gone.
        records = count(len(delta.declared), "record")
        yield _step("change", "declaration", f"{records} that the file declares from now on, or no longer")


def _rule(key: FrontendKey) -> str:
    return f"{spoken(key)} at {key.address}"


def _moves(before: State, delta: Delta) -> Iterator[dict[str, Any]]:
    for each in moves(before, amend(before, delta)):
        after = [None if key is None else spoken(key) for key in (each.before, each.after)]
        yield _step("move", "frontend", _rule(each.rule), {"after": after})


def _step(action: str, kind: str, name: str, fields: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"action": action, "kind": kind, "name": name, "fields": dict(fields or {})}


def _document(record: Any) -> dict[str, Any]:
    return without_pem(document_of(record))


def _put(kind: str, name: str, old: Any, new: Any) -> dict[str, Any]:
    after = _document(new)
    if old is None:
        return _step("add", kind, name, {field: [None, value] for field, value in after.items()})
    before = _document(old)
    changed = {
        field: [before.get(field), after.get(field)]
        for field in {**before, **after}
        if before.get(field) != after.get(field)
    }
    return _step("change", kind, name, changed)
