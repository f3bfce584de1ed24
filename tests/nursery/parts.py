"""Sockets and a handler for tests of who lives and who dies."""

import itertools
import os
import socket
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.program import Program, Settings
from sozu_trio.control.channel import IN_MEMFD, INLINE_SIZE, Channel
from sozu_trio.control.codec import encode
from sozu_trio.control.messages import Ask, Happened, Lines, Listen, Logged, Reply
from sozu_trio.control.moves import Learned, Parcel
from sozu_trio.nursery.capacity import Capacity
from sozu_trio.nursery.listener import Doorkeeping, Refusal, Resume, SessionNode
from sozu_trio.nursery.post import Spawned
from sozu_trio.nursery.tally import Tally
from sozu_trio.nursery.worker import serve_worker
from sozu_trio.routing.state import ListenerKey
from sozu_trio.routing.table import Table
from sozu_trio.telemetry.counters import Counters
from sozu_trio.telemetry.lines import LineBuffer

Heard = TypeVar("Heard")


class ScriptedListening(socket.socket):
    """A real listening socket, always readable, whose `accept` raises the errors of a script before it does what it
    should.
    """

    def __init__(self, script: Sequence[OSError]) -> None:
        super().__init__(socket.AF_INET, socket.SOCK_STREAM)
        self.script = list(script)
        self.asked = 0
        """How often somebody tried to accept."""

    def accept(self) -> tuple[socket.socket, object]:
        self.asked += 1
        if self.script:
            raise self.script.pop(0)
        return super().accept()


@contextmanager
def listening(*script: OSError) -> Iterator[ScriptedListening]:
    with ScriptedListening(script) as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock


@contextmanager
def connected(sock: socket.socket, count: int = 1) -> Iterator[list[socket.socket]]:
    """Clients that have connected to `sock` and wait in its queue."""
    clients = [socket.create_connection(sock.getsockname()) for _ in range(count)]
    try:
        yield clients
    finally:
        for client in clients:
            client.close()


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    """Both ends of a TCP connection: (client's, non-blocking server's). Without Nagle's delay, which knows no virtual
    time.
    """
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    for sock in (client, ours):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    ours.setblocking(False)
    return client, ours


def send_large(sock: socket.socket, message: object) -> None:
    """As Channel does, but with no checkpoint at which the other end might take it at once."""
    document = encode(message)
    assert len(document) > INLINE_SIZE
    with os.fdopen(os.memfd_create("large"), "wb") as memory:
        memory.write(document)
        memory.flush()
        socket.send_fds(sock, [IN_MEMFD], [memory.fileno()])


class FakeHandler:
    """A handler that remembers the generations it was given; sessions last until their client closes, or until
    `release`.
    """

    def __init__(self, program: Program, worker_id: int, tally: Tally) -> None:
        self.program = program
        self.worker_id = worker_id
        self.generations: list[int] = []
        self.lines = LineBuffer(1000)
        self.counters = Counters()
        self.cuts: list[tuple[str, str, Address]] = []
        self.service_ended_at: float | None = None
        self.freed = 0
        self.release = trio.Event()
        self.names: list[str] = []
        self.learned_of: list[Learned] = []
        numbers = itertools.count(1)
        self.doors = Doorkeeping(
            serve=self._serve,
            refuse=self._refuse,
            relieve=lambda: self.freed,
            next_name=lambda: f"session-{next(numbers)}",
            capacity=Capacity(tally, program.settings),
            admit=self._admit,
        )

    @property
    def services(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        return {"pool": self._service}

    def follow(self, settings: Settings) -> None:
        self.doors.capacity.follow(settings)

    def relieve_with(self, relieve: Callable[[], int]) -> None:
        self.relieve = relieve

    def tell_with(self, tell: Callable[[Happened], None]) -> None:
        self.tell = tell

    def trust(self, authorities: str) -> None:
        self.authorities = authorities

    def swap(self, table: Table) -> Collection[ListenerKey]:
        self.table = table
        self.generations.append(table.generation)
        return ()

    def cut_backend(self, cluster_id: str, backend_id: str, address: Address) -> int:
        self.cuts.append((cluster_id, backend_id, address))
        return 1

    async def look(self, what: str, query: Mapping[str, Any]) -> Any:
        if what != "weather":
            raise ValueError(f"nobody knows the {what}")
        return {"asked": dict(query), "answer": "x" * int(query.get("size", 1))}

    def learned(self) -> Learned:
        return Learned(failing=())

    async def learn(self, learned: Learned) -> None:
        self.learned_of.append(learned)

    def _admit(self, parcel: Parcel) -> Resume | None:
        raise AssertionError("nobody arrives here")

    async def _service(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.service_ended_at = trio.current_time()

    async def _serve(self, node: SessionNode) -> None:
        """Idle until the client says something, then busy."""
        self.names.append(node.name)
        self.counters.sessions += 1
        self.counters.sessions_total += 1
        try:
            with node.until_killed():
                await self._serve_counted(node)
        finally:
            self.counters.sessions -= 1

    async def _serve_counted(self, node: SessionNode) -> None:
        scope = trio.CancelScope()
        node.listener.drain.enter_idle(scope)
        with scope:
            await trio.lowlevel.wait_readable(node.sock)
            node.listener.drain.leave_idle(scope)
            if node.sock.recv(10) == b"busy":
                await self.release.wait()
        self.lines.append(f"{node.name} is over")

    def _refuse(self, sock: socket.socket, key: ListenerKey, why: Refusal) -> None:
        raise AssertionError("nobody is refused here")


class Meddling(Channel[Ask]):
    """A worker's end of its channel that does not pass on everything, and remembers what has come."""

    def __init__(self, channel: Channel[Ask]) -> None:
        self.__dict__ = channel.__dict__
        self.heard: list[Ask] = []
        self.delayed: dict[type[Ask], trio.Event] = {}
        """Kinds that the worker hears of only after an event."""
        self.fatal: dict[type[Ask], trio.CancelScope] = {}
        """Kinds of which the worker dies: the scope it lives in."""
        self.refused: set[type[Ask]] = set()
        """Kinds that are answered with a failure."""
        self.ignored: set[type[Ask]] = set()
        """Kinds that are never answered."""
        self.refuse_at: Address | None = None
        """Where listening is answered with a failure."""
        self.pretended: set[type[Ask]] = set()
        """Kinds that are answered as if they had been done."""

    async def receive(self) -> tuple[Ask, list[int]] | None:
        while received := await super().receive():
            message, descriptors = received
            self.heard.append(message)
            kind = type(message)
            if kind in self.delayed:
                await self.delayed[kind].wait()
            if kind in self.fatal:
                self.fatal[kind].cancel(reason="it died of what it was asked")
                await trio.lowlevel.checkpoint()
            refused = kind in self.refused or (isinstance(message, Listen) and message.address == self.refuse_at)
            if not refused and kind not in self.ignored | self.pretended:
                return received
            for descriptor in descriptors:
                os.close(descriptor)
            if kind not in self.ignored:
                failure = "not today" if refused else None
                await self.send(Reply(serial=message.serial, failure=failure))
        return None

    def heard_of(self, kind: type[Heard]) -> list[Heard]:
        return [message for message in self.heard if isinstance(message, kind)]


class Workers:
    """Runs workers as tasks of the test, keeps what they are made of and what they report."""

    def __init__(self) -> None:
        self._handlers: dict[int, FakeHandler] = {}
        self.channels: list[Meddling] = []
        self.deaths: list[trio.CancelScope] = []
        self.delayed: dict[type[Ask], trio.Event] = {}
        """Kinds that any worker hears of only after an event."""
        self.refused_later: set[type[Ask]] = set()
        """Kinds that workers refuse which are started from now on."""
        self.ignored_later: set[type[Ask]] = set()
        """Kinds that they never answer."""
        self.ignored_of: dict[int, set[type[Ask]]] = {}
        """Kinds that those of an id never answer."""
        self.fatal_later: set[type[Ask]] = set()
        """Kinds of which they die."""
        self.living = 0
        self.ids: list[int] = []
        """In the order in which they were started, as the lists above."""
        self.lines: list[str] = []
        self.events: list[Happened] = []

    async def spawn(self, worker_id: int, channel: Channel[Ask], *, task_status: trio.TaskStatus[Spawned]) -> None:
        task_status.started(Spawned(os.getpid()))
        self.living += 1
        self.ids.append(worker_id)
        self.channels.append(Meddling(channel))
        self.channels[-1].delayed = self.delayed
        self.channels[-1].refused |= self.refused_later
        self.channels[-1].ignored |= self.ignored_later | self.ignored_of.get(worker_id, set())
        self.deaths.append(trio.CancelScope())
        self.channels[-1].fatal |= dict.fromkeys(self.fatal_later, self.deaths[-1])
        make_handler = partial(self._make_handler, len(self.ids))
        try:
            with self.deaths[-1]:
                await serve_worker(self.channels[-1], make_handler)
        finally:
            self.living -= 1
            channel.close()

    def kill(self, number: int) -> None:
        """Have the worker that was started as the `number`th end without another word."""
        self.deaths[number].cancel(reason="kill -9")

    def _make_handler(self, number: int, program: Program, worker_id: int, tally: Tally) -> FakeHandler:
        self._handlers[number] = FakeHandler(program, worker_id, tally)
        return self._handlers[number]

    @property
    def handlers(self) -> list[FakeHandler]:
        return [self._handlers[number] for number in sorted(self._handlers)]

    def take_lines(self, report: Lines | Logged) -> None:
        self.lines += report.lines.split("\n") if isinstance(report, Lines) else report.lines

    @property
    def handler(self) -> FakeHandler:
        return self.handlers[0]

    @property
    def channel(self) -> Meddling:
        return self.channels[0]
