"""A listener in the tree: accepting inside connections.

    listener
     ├─ accepting     cancelled first: soft stop, deactivate
     └─ connections   gets a deadline: hard stop

Both scopes belong to the node, so that one listener can be stopped without touching another. A connection is one task;
it is counted before its task starts, so that `max_connections` holds exactly.
"""

import logging
import math
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import trio

from sozu_trio.config.limits import REFUSING_AT_ONCE
from sozu_trio.nursery.accept import accept_forever, accept_queued
from sozu_trio.nursery.capacity import Capacity
from sozu_trio.nursery.drain import Drain
from sozu_trio.nursery.guard import guard
from sozu_trio.routing.state import ListenerKey

log = logging.getLogger(__name__)

SessionKind = Literal["http", "websocket", "tcp"]
"""What a connection is used for: `websocket` is one that was upgraded, to whatever protocol."""

COMPLAIN_EVERY = 1.0
"""Seconds between two lines about descriptors that have run out."""


@dataclass(slots=True, eq=False)
class SessionNode:
    """One client connection in the tree."""

    name: str
    sock: socket.socket
    peer: Any
    """What `accept` returned: (host, port) or (host, port, flow, scope)."""
    listener: "ListenerNode"
    started: float
    """Trio's clock."""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    kind: SessionKind = "http"
    """Whoever serves it says so when it becomes something else."""


@dataclass(slots=True, eq=False)
class ListenerNode:
    """One listener in the tree, with the sessions it has let in."""

    key: ListenerKey
    sock: socket.socket
    drain: Drain = field(default_factory=Drain)
    accepting: trio.CancelScope = field(default_factory=trio.CancelScope)
    connections: trio.CancelScope = field(default_factory=trio.CancelScope)
    sessions: dict[str, SessionNode] = field(default_factory=dict)
    closed: trio.Event = field(default_factory=trio.Event)
    """It accepts no more, and who was in the queue has been let in."""
    started: float = field(default_factory=trio.current_time)
    """Trio's clock."""
    cut: int = 0
    """Sessions that a deadline or a hard stop ended."""

    @property
    def name(self) -> str:
        transport, address = self.key
        return f"listener {transport} {address}"

    def stop(self, grace: float | None) -> None:
        """Accept no more, wake the idle, and cut what is left after `grace` seconds (None = never).

        May be called again, with less patience.
        """
        self.accepting.cancel(reason="listener stops")
        self.drain.start()
        if grace is not None:
            self.connections.deadline = min(self.connections.deadline, trio.current_time() + grace)


@dataclass(frozen=True, slots=True)
class Doorkeeping:
    """What a listener asks of those who know what a connection is."""

    serve: Callable[[SessionNode], Awaitable[None]]
    refuse: Callable[[socket.socket, ListenerKey, bool], Awaitable[None]]
    """Answer a connection over the limit; the flag says whether there is time to do it politely."""
    relieve: Callable[[], int]
    """Close what nobody uses; returns how many descriptors that frees."""
    next_name: Callable[[], str]
    capacity: Capacity


async def serve_listener(
    node: ListenerNode,
    doors: Doorkeeping,
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Accept until `node.stop`, then end with the last session. Closes the listening socket as soon as accepting has
    stopped.
    """
    with node.connections:
        async with trio.open_nursery() as connections:
            with node.accepting:
                door = Door(node, doors, connections)
                task_status.started()
                try:
                    await accept_forever(node.sock, door.take, door.relieve)
                finally:
                    if node.connections.deadline > trio.current_time():
                        accept_queued(node.sock, door.take)
                    trio.lowlevel.notify_closing(node.sock)
                    node.sock.close()
                    node.closed.set()


class Door:
    """Lets connections in while there is room, and turns the others away."""

    __slots__ = ("_connections", "_doors", "_node", "_quiet_until", "_refusing")

    def __init__(self, node: ListenerNode, doors: Doorkeeping, connections: trio.Nursery) -> None:
        self._node = node
        self._doors = doors
        self._connections = connections
        self._refusing = 0
        self._quiet_until = -math.inf

    def take(self, sock: socket.socket, peer: Any) -> None:
        if not self._doors.capacity.take():
            self._refusing += 1
            self._connections.start_soon(self._refuse, sock, name="refusal")
            return
        node = SessionNode(self._doors.next_name(), sock, peer, self._node, trio.current_time())
        self._node.sessions[node.name] = node
        self._connections.start_soon(self._serve, node, name=node.name)

    async def _serve(self, node: SessionNode) -> None:
        try:
            with node.scope:
                await guard(node.name, log, lambda: self._doors.serve(node))
        except BaseException:
            # Nothing but cancellation passes the guard, alone or in groups.
            self._node.cut += 1
            raise
        finally:
            node.sock.close()
            del self._node.sessions[node.name]
            self._doors.capacity.give()

    async def _refuse(self, sock: socket.socket) -> None:
        try:
            polite = self._refusing <= REFUSING_AT_ONCE
            await guard("refusal", log, lambda: self._doors.refuse(sock, self._node.key, polite))
        finally:
            sock.close()
            self._refusing -= 1

    def relieve(self, error: OSError) -> None:
        freed = self._doors.relieve()
        now = trio.current_time()
        if now >= self._quiet_until:
            self._quiet_until = now + COMPLAIN_EVERY
            log.warning("%s: cannot accept: %s; %d descriptors given back", self._node.name, error.strerror, freed)
