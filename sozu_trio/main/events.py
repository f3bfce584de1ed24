"""What happened, told to whoever listens, with the kinds of Sōzu (reference §3.4).

What happened at once, as in one change, is told at once: it waits as one item, and each listener goes through it in its
own time. A listener that does not keep up is let go: neither traffic nor changes wait for it, and what piles up is
bounded.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.telemetry.stamp import rfc3339

WAITING = 1000
"""Tellings that may wait for one listener."""
MOST = 100_000
"""Events in them from which on no further telling may wait, 20 MB at most: so one change of any size is heard whole."""


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


class Telling(NamedTuple):
    """Events of one moment, in seconds since the epoch; the same object for all who listen."""

    moment: float
    events: tuple[Event, ...]


class Hearing:
    """What one listener has not heard yet: an async iterator of event documents, for one task. It ends when the proxy
    has stopped, and when its reader is too slow.
    """

    def __init__(self) -> None:
        self._put, self._take = trio.open_memory_channel[Telling](WAITING)
        self._documents: Iterator[dict[str, Any]] = iter(())
        self._begun = 0
        """Events left of the telling that is being heard."""
        self.waiting = 0
        """Events not heard yet."""

    def tell(self, telling: Telling) -> None:
        """Never blocks. Raises trio.WouldBlock when too much waits already."""
        if self.waiting >= MOST:
            raise trio.WouldBlock
        self._put.send_nowait(telling)
        self.waiting += len(telling.events)

    def end(self) -> None:
        """Nothing more will come than what waits."""
        self._put.close()

    def close(self) -> None:
        """Nobody listens any more."""
        self._put.close()
        self._take.close()

    async def receive(self) -> dict[str, Any]:
        """The next event. Raises trio.EndOfChannel when no more will come."""
        if self._begun:
            await trio.lowlevel.checkpoint()
        else:
            self._begin(await self._take.receive())
        return self._next()

    def receive_nowait(self) -> dict[str, Any]:
        """The next event. Raises trio.WouldBlock where there is none yet, trio.EndOfChannel when no more will come."""
        if not self._begun:
            self._begin(self._take.receive_nowait())
        return self._next()

    def __aiter__(self) -> "Hearing":
        return self

    async def __anext__(self) -> dict[str, Any]:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    def _begin(self, telling: Telling) -> None:
        self._begun = len(telling.events)
        self._documents = (event.document(telling.moment) for event in telling.events)

    def _next(self) -> dict[str, Any]:
        self._begun -= 1
        self.waiting -= 1
        return next(self._documents)


class Events:
    """The hub between those who tell and those who listen."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._listeners: set[Hearing] = set()
        self.ended: str | None = None
        """Why nothing more will happen here."""

    def tell(self, *events: Event) -> None:
        """Tell every listener what has happened now; never blocks."""
        if not self._listeners or not events:
            return
        telling = Telling(self._clock(), events)
        for listener in list(self._listeners):
            try:
                listener.tell(telling)
            except trio.WouldBlock:
                self._listeners.discard(listener)
                listener.end()

    def end(self, why: str = "the proxy has stopped") -> None:
        """Nothing more will happen: whoever listens has heard it all."""
        for listener in self._listeners:
            listener.end()
        self._listeners.clear()
        self.ended = why

    def begin_again(self) -> None:
        """It goes on here after all, for those who come from now on."""
        self.ended = None

    @contextmanager
    def listen(self) -> Iterator[Hearing]:
        """Whatever happens from now on."""
        hearing = Hearing()
        if self.ended:
            hearing.end()
        else:
            self._listeners.add(hearing)
        try:
            yield hearing
        finally:
            self._listeners.discard(hearing)
            hearing.close()
