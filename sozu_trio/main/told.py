"""A change of State as events: what is new is ADDED, what is other than it was UPDATED, what is gone REMOVED.

CERTIFICATE_UPDATED, CLUSTER_UPDATED and FRONTEND_UPDATED are kinds of ours, as Sōzu has none. Of backends nothing is
told here, as in Sōzu: its kinds about them are for what workers see.
"""

from collections.abc import Iterator
from dataclasses import replace

from sozu_trio.config.certificates import ListenerCertificate
from sozu_trio.config.clusters import HttpFrontend, TcpFrontend
from sozu_trio.config.listeners import Listener
from sozu_trio.main.events import Event
from sozu_trio.routing.delta import Delta
from sozu_trio.routing.spoken import spoken, spoken_certificate
from sozu_trio.routing.state import FrontendKey, State, certificate_key, frontend_key, listener_key


def events_of(before: State, delta: Delta) -> list[Event]:
    """What becomes of `before` by `delta`. A rule that only moves within the order of rules is no event."""
    told = [Event(kind="LISTENER_REMOVED", address=key[1]) for key in delta.gone_listeners]
    for listener in delta.listeners:
        told += _of_listener(before.listeners.get(listener_key(listener)), listener)
    told += [Event(kind="CLUSTER_REMOVED", cluster_id=cluster_id) for cluster_id in delta.gone_clusters]
    for cluster in delta.clusters:
        kind = "CLUSTER_UPDATED" if cluster.cluster_id in before.clusters else "CLUSTER_ADDED"
        told.append(Event(kind=kind, cluster_id=cluster.cluster_id))
    told += _of_rules(before, delta)
    told += [_of_tcp("REMOVED", before.tcp_frontends[address]) for address in delta.gone_tcp_frontends]
    for frontend in delta.tcp_frontends:
        told.append(_of_tcp("UPDATED" if frontend.address in before.tcp_frontends else "ADDED", frontend))
    told += _of_certificates(before, delta)
    if delta.settings is not None and delta.settings.log_level != before.settings.log_level:
        told.append(Event(kind="LOGGING_LEVEL_CHANGED", details=delta.settings.log_level))
    return told


def _of_listener(old: Listener | None, new: Listener) -> Iterator[Event]:
    """Sōzu's kinds tell activation from any other change."""
    if old is None:
        yield Event(kind="LISTENER_ADDED", address=new.address)
    elif replace(old, active=new.active) != new:
        yield Event(kind="LISTENER_UPDATED", address=new.address)
    if (old is not None and old.active) is not new.active:
        yield Event(kind="LISTENER_ACTIVATED" if new.active else "LISTENER_DEACTIVATED", address=new.address)


def _of_certificates(before: State, delta: Delta) -> Iterator[Event]:
    """One that takes the place of another at its listener, for one of its names, is REPLACED and the other not told."""
    put = {certificate_key(each): each for each in delta.certificates}
    gone = {key: before.certificates[key] for key in delta.gone_certificates if key not in put}
    by_name = {(key[0], name): key for key, record in gone.items() for name in record.certificate.names}
    for key, record in put.items():
        places = (by_name.get((key[0], name)) for name in record.certificate.names)
        replaced = next((place for place in places if place in gone), None)
        if replaced is not None:
            del gone[replaced]
            yield _of_certificate("REPLACED", record)
        else:
            yield _of_certificate("UPDATED" if key in before.certificates else "ADDED", record)
    yield from (_of_certificate("REMOVED", record) for record in gone.values())


def _of_certificate(what: str, record: ListenerCertificate) -> Event:
    return Event(kind=f"CERTIFICATE_{what}", address=record.address, details=spoken_certificate(record))


def _of_rules(before: State, delta: Delta) -> Iterator[Event]:
    put = {frontend_key(rule): rule for rule in delta.http_frontends}
    for key in delta.gone_http_frontends:
        if key not in put:
            yield _of_rule("REMOVED", key, before.http_frontends[key])
    for key, rule in put.items():
        old = before.http_frontends.get(key)
        if old is None:
            yield _of_rule("ADDED", key, rule)
        elif old != rule:
            yield _of_rule("UPDATED", key, rule)


def _of_rule(what: str, key: FrontendKey, rule: HttpFrontend) -> Event:
    return Event(kind=f"FRONTEND_{what}", cluster_id=rule.cluster_id, address=rule.address, details=spoken(key))


def _of_tcp(what: str, frontend: TcpFrontend) -> Event:
    return Event(kind=f"FRONTEND_{what}", cluster_id=frontend.cluster_id, address=frontend.address)
