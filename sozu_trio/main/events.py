"""What happened, told to whoever listens, with the kinds of Sōzu (reference §3.4).

A listener that does not keep up is let go: neither traffic nor changes wait for it, and nothing piles up.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.listeners import Listener
from sozu_trio.routing.delta import Delta
from sozu_trio.routing.state import State, listener_key
from sozu_trio.telemetry.stamp import rfc3339

WAITING = 1000
"""Events that may wait for one listener."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """`kind` and what it is about; what does not apply is None."""

    kind: str
    cluster_id: str | None = None
    backend_id: str | None = None
    address: Address | None = None
    details: str | None = None

    def document(self, moment: float) -> dict[str, Any]:
        """As it is sent; `moment` in seconds since the epoch."""
        members = {
            "cluster_id": self.cluster_id,
            "backend_id": self.backend_id,
            "address": None if self.address is None else str(self.address),
            "details": self.details,
        }
        given = {name: value for name, value in members.items() if value is not None}
        return {"kind": self.kind, "time": rfc3339(moment), **given}


class Events:
    """The hub between those who tell and those who listen."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._listeners: set[trio.MemorySendChannel[dict[str, Any]]] = set()
        self.ended = False
        """The proxy has stopped."""

    def tell(self, event: Event) -> None:
        """Tell every listener; never blocks."""
        if not self._listeners:
            return
        document = event.document(self._clock())
        for listener in list(self._listeners):
            try:
                listener.send_nowait(document)
            except trio.WouldBlock:
                self._listeners.discard(listener)
                listener.close()

    def end(self) -> None:
        """Nothing more will happen: whoever listens has heard it all."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        self.ended = True

    @contextmanager
    def listen(self) -> Iterator[trio.MemoryReceiveChannel[dict[str, Any]]]:
        """A channel of event documents; it ends when its reader is too slow."""
        send, receive = trio.open_memory_channel[dict[str, Any]](WAITING)
        if self.ended:
            send.close()
        else:
            self._listeners.add(send)
        try:
            yield receive
        finally:
            self._listeners.discard(send)
            send.close()
            receive.close()


def events_of(before: State, delta: Delta) -> list[Event]:
    """What a change of State is in events. Activating a listener is an update too, and told as what it is."""
    told = [Event(kind="LISTENER_REMOVED", address=key[1]) for key in delta.gone_listeners]
    for listener in delta.listeners:
        told += _of_listener(before.listeners.get(listener_key(listener)), listener)
    told += [Event(kind="CLUSTER_REMOVED", cluster_id=cluster_id) for cluster_id in delta.gone_clusters]
    told += [Event(kind="CLUSTER_ADDED", cluster_id=cluster.cluster_id) for cluster in delta.clusters]
    put_again = {(frontend.address, frontend.hostname) for frontend in delta.http_frontends}
    told += [
        Event(kind="FRONTEND_REMOVED", address=key.address, details=key.hostname)
        for key in delta.gone_http_frontends
        if (key.address, key.hostname) not in put_again
    ]
    told += [
        Event(kind="FRONTEND_ADDED", cluster_id=each.cluster_id, address=each.address, details=each.hostname)
        for each in delta.http_frontends
    ]
    told += [Event(kind="FRONTEND_REMOVED", address=address) for address in delta.gone_tcp_frontends]
    told += [
        Event(kind="FRONTEND_ADDED", cluster_id=each.cluster_id, address=each.address) for each in delta.tcp_frontends
    ]
    if delta.settings is not None and delta.settings.log_level != before.settings.log_level:
        told.append(Event(kind="LOGGING_LEVEL_CHANGED", details=delta.settings.log_level))
    return told


def _of_listener(old: Listener | None, new: Listener) -> list[Event]:
    was_active = old is not None and old.active
    told = [Event(kind="LISTENER_ADDED", address=new.address)] if old is None else []
    if was_active is not new.active:
        told.append(Event(kind="LISTENER_ACTIVATED" if new.active else "LISTENER_DEACTIVATED", address=new.address))
    elif old is not None:
        told.append(Event(kind="LISTENER_UPDATED", address=new.address))
    return told
