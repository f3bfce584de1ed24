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
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.limits import REFUSING_AT_ONCE
from sozu_trio.control.moves import Parcel
from sozu_trio.nursery.accept import accept_forever, accept_queued
from sozu_trio.nursery.capacity import Capacity
from sozu_trio.nursery.drain import Drain, Waiter
from sozu_trio.nursery.guard import Guard
from sozu_trio.nursery.overload import Overload
from sozu_trio.nursery.places import Held
from sozu_trio.nursery.readiness import notify_closing
from sozu_trio.nursery.shortage import Shortage
from sozu_trio.routing.state import ListenerKey

if TYPE_CHECKING:
    from sozu_trio.nursery.departure import Departure

log = logging.getLogger(__name__)

SessionKind = Literal["http", "websocket", "tcp"]
"""What a connection is used for: `websocket` is one that was upgraded, to whatever protocol."""

KILLED: Final = "killed by the operator"
"""Why a session's waits are cancelled."""
COMPLAIN_EVERY = 1.0
"""Seconds between two lines about descriptors that have run out."""


@dataclass(slots=True, eq=False)
class Fate:
    """Of a session on its way from one worker to the next, as one of the two sees it."""

    is_ours: bool
    """It is served here, or belongs here at least as long as nothing is known: to the worker that has offered it."""
    known: trio.Event = field(default_factory=trio.Event)


def do_nothing() -> None:
    """Nobody wants to know of the end."""


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
    waits: Waiter | None = None
    """What its waits are in just now, if it may wait: cancelled when it is killed. See `wait_in`."""
    is_killed: bool = False
    """An operator has ended it: whoever serves it is to return soon, however it goes on otherwise."""
    kind: SessionKind = "http"
    """Whoever serves it says so when it becomes something else."""
    tunnel: Waiter | None = None
    """What to cancel to have it move: set while a tunnel runs, which is not idle and can move at any time."""
    stays: bool = False
    """A successor has refused it."""
    is_bound: bool = False
    """It can never move: what it needs is known to OpenSSL alone."""
    fate: Fate | None = None
    """Of its last way to another worker, or from one."""
    held: Held = field(default_factory=dict)
    """Places that its address has because of it."""
    at_end: Callable[[], None] = do_nothing
    """Called when it has ended, however it did; whoever serves it puts it here."""

    @property
    def client(self) -> Address:
        """Who connected."""
        host, port, *_ = self.peer
        return Address(host, port)

    def wait_in(self, waits: Waiter) -> None:
        """What follows waits in `waits`, so that it can be killed. A scope of its own around each session would cost
        5 % of a new connection and 0.5 KiB, and there mostly is one already.
        """
        self.waits = waits
        if self.is_killed:
            waits.cancel(reason=KILLED)

    def kill(self) -> None:
        """End it, whatever it does."""
        self.is_killed = True
        if self.waits is not None:
            self.waits.cancel(reason=KILLED)

    @contextmanager
    def until_killed(self) -> Iterator[None]:
        """Around what waits in no other scope that `wait_in` was told of."""
        with trio.CancelScope() as scope:
            self.wait_in(scope)
            try:
                yield
            finally:
                if self.waits is scope:
                    self.waits = None


Serve = Callable[[SessionNode], Awaitable[None]]
Resume = Callable[[SessionNode, socket.socket | None], Awaitable[None]]
"""Serves a session that began in another worker; the socket is that to its backend, and is closed."""


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
    door: "Door | None" = None
    """While sessions may begin here."""
    departure: "Departure | None" = None
    """Where sessions go that can, because a successor of this worker serves them."""
    is_left: bool = False
    """A successor listens on the same socket: who is in the queue is its affair."""

    @property
    def name(self) -> str:
        transport, address = self.key
        return f"listener {transport} {address}"

    def stop(self, grace: float | None) -> None:
        """Accept no more, wake the idle, and cut what is left after `grace` seconds (None = never).

        May be called again, with less patience.
        """
        self.accepting.cancel(reason="listener stops")
        self.departure = None
        self.drain.start()
        if grace is not None:
            self.connections.deadline = min(self.connections.deadline, trio.current_time() + grace)

    def leave(self, departure: "Departure", deadline: float) -> None:
        """Accept no more, without taking who is in the queue, and have sessions depart; cut what is left at
        `deadline`. One that stops already goes on stopping.
        """
        if self.drain.started:
            self.connections.deadline = min(self.connections.deadline, deadline)
            return
        self.is_left = True
        self.accepting.cancel(reason="a successor accepts")
        self.departure = departure
        self.connections.deadline = deadline
        for session in self.sessions.values():
            session.stays = False


Goodbye = Callable[[], Awaitable[None]]
Refusal = Literal["capacity", "source", "overload", "memory"]
"""Why somebody is not let in."""


def find_nobody(_: int) -> int:
    """Nobody is known who could leave."""
    return 0


@dataclass(frozen=True, slots=True)
class Doorkeeping:
    """What a listener asks of those who know what a connection is."""

    serve: Serve
    refuse: Callable[[socket.socket, ListenerKey, Refusal], Goodbye | None]
    """Answer a connection that is not let in, at once. What it returns is what to do before it is closed, where there
    is time to be polite; None where all is said.
    """
    relieve: Callable[[], int]
    """Close what nobody uses; returns how many descriptors that frees."""
    next_name: Callable[[], str]
    capacity: Capacity
    admit: Callable[[Parcel], Resume | None]
    """What goes on with a session of another worker, by what is configured now; None where it has no place here."""
    overload: Overload = field(default_factory=Overload)
    shortage: Shortage = field(default_factory=Shortage)
    evict: Callable[[int], int] = find_nobody
    """Have up to so many clients leave who only wait; returns how many will."""
    tells_later: Callable[[ListenerKey], bool] = lambda _: False
    """Whether who connects there is known by a PROXY header, and nothing of the address it comes from."""


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
            node.door = door = Door(node, doors, connections)
            with node.accepting:
                task_status.started()
                try:
                    await accept_forever(node.sock, door.take, door.relieve, door.shed, doors.overload, doors.shortage)
                finally:
                    if not node.is_left and node.connections.deadline > trio.current_time():
                        accept_queued(node.sock, door.take)
                    trio.lowlevel.notify_closing(node.sock)
                    node.sock.close()
                    node.door = None
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
        capacity = self._doors.capacity
        if capacity.is_closed:
            self._turn_away(sock, "memory")
            return
        if not (capacity.take() or (capacity.evicts and capacity.take_from(self._doors.evict))):
            self._turn_away(sock, "capacity")
            return
        node = SessionNode(self._doors.next_name(), sock, peer, self._node, trio.current_time())
        if capacity.places.per_source and not self._arrives(node):
            capacity.give()
            self._turn_away(sock, "source")
            return
        self._begin(node, self._doors.serve)

    def _arrives(self, node: SessionNode) -> bool:
        """Whether its address may have one more connection, as far as that is known here."""
        return self._doors.tells_later(self._node.key) or self._doors.capacity.places.arrive(
            node.held, node.client.host
        )

    def take_in(self, node: SessionNode, resume: Serve) -> None:
        """Have `resume` serve a session of another worker. There is room for it always: it was let in once."""
        self._doors.capacity.take_beyond()
        node.held = self._doors.capacity.places.go_on(node.held)
        self._begin(node, resume)

    def _begin(self, node: SessionNode, serve: Serve) -> None:
        self._node.sessions[node.name] = node
        self._connections.start_soon(self._serve, node, serve, name=node.name)

    async def _serve(self, node: SessionNode, serve: Serve) -> None:
        try:
            with Guard(node.name, log):
                await serve(node)
        except BaseException:
            # Nothing but cancellation passes the guard, alone or in groups.
            self._node.cut += 1
            if self._node.is_left and not self._node.drain.started:
                log.warning("session %s (%s of %s) was cut: it could not move", node.name, node.kind, node.client)
            raise
        finally:
            node.at_end()
            if node.sock.fileno() >= 0:
                notify_closing(node.sock)
                node.sock.close()
            del self._node.sessions[node.name]
            self._doors.capacity.places.leave(node.held)
            self._doors.capacity.give()
            self._doors.shortage.given_back()

    def shed(self, sock: socket.socket, _: Any) -> None:
        """There is too much to do already."""
        self._doors.overload.turned_away()
        self._turn_away(sock, "overload")

    def _turn_away(self, sock: socket.socket, why: Refusal) -> None:
        try:
            goodbye = self._doors.refuse(sock, self._node.key, why)
        except Exception:
            # Nobody who comes is to end the accepting.
            log.exception("%s: refusal failed", self._node.name)
            goodbye = None
        if goodbye is None or self._refusing >= REFUSING_AT_ONCE:
            sock.close()
            return
        self._refusing += 1
        self._connections.start_soon(self._see_off, sock, goodbye, name="refusal")

    async def _see_off(self, sock: socket.socket, goodbye: Goodbye) -> None:
        try:
            with Guard("refusal", log):
                await goodbye()
        finally:
            sock.close()
            self._refusing -= 1
            self._doors.shortage.given_back()

    def relieve(self, error: OSError) -> int:
        """Descriptors have run out; how many are given back."""
        freed = self._doors.relieve()
        now = trio.current_time()
        if now >= self._quiet_until:
            self._quiet_until = now + COMPLAIN_EVERY
            log.warning("%s: cannot accept: %s; %d descriptors given back", self._node.name, error.strerror, freed)
        return freed
