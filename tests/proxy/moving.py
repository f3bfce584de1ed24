"""Workers that hand over to one another, all in one process, and main's end of each."""

import contextlib
import dataclasses
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.load import parse_config
from sozu_trio.config.program import Program
from sozu_trio.control.channel import Channel, close_all
from sozu_trio.control.messages import (
    ASKS,
    REPORTS,
    Amend,
    Ask,
    Begin,
    Commit,
    HandedOver,
    HandOver,
    Lines,
    Listen,
    Look,
    Prepare,
    Reply,
    Stop,
    Stopped,
    Stranded,
    TakeOver,
    Unlisten,
)
from sozu_trio.control.moves import OFFERS, Offer, Offered, Parcel, Taken
from sozu_trio.main.declared import declared_by
from sozu_trio.nursery.bind import bound_address, open_listening_socket
from sozu_trio.nursery.listener import ListenerNode, Resume, SessionNode
from sozu_trio.nursery.tally import Tally
from sozu_trio.nursery.worker import serve_worker
from sozu_trio.proxy.doors import ProxyHandler
from sozu_trio.proxy.proxy import Proxy
from sozu_trio.routing.delta import diff
from sozu_trio.routing.state import EMPTY, State
from sozu_trio.testing import Client, ScriptedBackend
from tests.nursery.counting import REGIONS

ROOM = Taken(taken=(), refused=(), room=500)
TEXT = """
[[listeners]]
protocol = "http"
address = "{http}"
{http_listener}

[[listeners]]
protocol = "tcp"
address = "{tcp}"
{tcp_listener}

[clusters.web]
protocol = "http"
frontends = [{{ address = "{http}", hostname = "example.com" }}]
{cluster}
backends = [{{ backend_id = "b0", address = "{backend}" }}]

[clusters.raw]
protocol = "tcp"
frontends = [{{ address = "{tcp}" }}]
backends = [{{ backend_id = "b1", address = "{backend}" }}]
"""


def without_backends(state: State) -> State:
    return dataclasses.replace(state, backends={}, declared=None)


class Moving:
    """A worker, and main's end of its channel."""

    def __init__(self, sock: socket.socket, worker: Channel[Ask]) -> None:
        self.channel = Channel(sock, REPORTS)
        self.lines: list[str] = []
        self.handed_over: list[HandedOver] = []
        self.stranded: list[Stranded] = []
        self.stopped: Stopped | None = None
        self.nodes: set[ListenerNode] = set()
        """Listeners that have had sessions."""
        self.admit: Callable[[Parcel], Resume | None] | None = None
        """Set once it has begun; what it lets in again."""
        self.over = trio.Event()
        self.scope = trio.CancelScope()
        self._worker = worker
        self._handlers: list[ProxyHandler] = []
        self._serial = 1
        self._replies: dict[int, Reply] = {}
        self._heard = trio.Event()

    @property
    def handler(self) -> ProxyHandler:
        return self._handlers[0]

    @property
    def proxy(self) -> Proxy:
        return self.handler.proxy

    def _make(self, program: Program, worker_id: int, tally: Tally) -> ProxyHandler:
        handler = ProxyHandler(program, worker_id, tally)
        self._handlers.append(handler)
        self.tally = tally
        doors = handler.doors

        async def serve(node: SessionNode) -> None:
            self.nodes.add(node.listener)
            await doors.serve(node)

        self.admit = doors.admit

        def admit(parcel: Parcel) -> Resume | None:
            assert self.admit is not None
            resume = self.admit(parcel)
            return None if resume is None else partial(self._resume, resume)

        handler.doors = dataclasses.replace(doors, serve=serve, admit=admit)
        return handler

    async def _resume(self, resume: Resume, node: SessionNode, backend: socket.socket | None) -> None:
        self.nodes.add(node.listener)
        await resume(node, backend)

    async def run(self) -> None:
        try:
            with self.scope:
                await serve_worker(self._worker, self._make)
        finally:
            self._worker.close()

    async def hear(self) -> None:
        while received := await self.channel.receive():
            report, descriptors = received
            assert not descriptors
            match report:
                case Reply():
                    self._replies[report.serial] = report
                case Lines():
                    self.lines += report.lines.split("\n")
                case HandedOver():
                    self.handed_over.append(report)
                case Stranded():
                    self.stranded.append(report)
                case Stopped():
                    self.stopped = report
            self._heard.set()
            self._heard = trio.Event()
        self.over.set()
        self._heard.set()

    async def ask(self, kind: type[Any], *descriptors: int, **members: Any) -> Any:
        """What a message of `kind` is answered; it must not fail. Raises BrokenPipeError when the worker has ended."""
        self._serial += 1
        serial = self._serial
        await self.channel.send(kind(serial=serial, **members), descriptors)
        while serial not in self._replies:
            if self.over.is_set():
                raise BrokenPipeError
            await self._heard.wait()
        reply = self._replies.pop(serial)
        assert reply.failure is None, reply.failure
        return reply.content

    async def change(self, state: State, generation: int) -> None:
        delta = diff(EMPTY, state)
        await self.ask(Amend, attempt=generation, base=None, delta=delta)
        await self.ask(Prepare, attempt=generation, generation=generation)
        await self.ask(Commit, generation=generation)

    async def moves(self, count: int = 1) -> HandedOver:
        """Wait until it has reported so often that it handed over; the last report."""
        while len(self.handed_over) < count:
            if self.over.is_set():
                raise BrokenPipeError
            await self._heard.wait()
        return self.handed_over[-1]

    async def ask_look(self, what: str) -> Any:
        return await self.ask(Look, what=what, query={})

    async def sessions(self) -> list[str]:
        return [each["id"] for each in await self.ask_look("sessions")]

    async def stop(self, grace: float | None = None) -> int:
        """Stop it, and wait for its end; how many were cut."""
        await self.ask(Stop, grace=grace)
        await self.over.wait()
        assert self.stopped is not None
        return self.stopped.cut


class Succession:
    """Workers one after the other, on the same sockets."""

    def __init__(self, nursery: trio.Nursery, backend: ScriptedBackend, **parts: str) -> None:
        self.nursery = nursery
        self.backend = backend
        self.sockets = {name: open_listening_socket(Address("127.0.0.1", 0)) for name in ("http", "tcp")}
        self.addresses = {name: bound_address(sock) for name, sock in self.sockets.items()}
        filled = {"http_listener": "", "tcp_listener": "", "cluster": "", **parts}
        texts = {name: str(address) for name, address in self.addresses.items()}
        self.text = parts.get("top", "") + TEXT.format(**texts, **filled, backend=backend)
        self.config = parse_config(self.text, "test", Path.cwd())
        self.state = declared_by(self.config)
        self.workers: list[Moving] = []
        self.clients: list[Client] = []
        self.channels: list[Channel[Offer]] = []

    async def start(self) -> Moving:
        """Another worker that accepts."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        worker = Moving(ours, Channel(theirs, ASKS))
        self.workers.append(worker)
        self.nursery.start_soon(worker.run)
        self.nursery.start_soon(worker.hear)
        await worker.ask(Begin, *REGIONS.descriptors, worker_id=0, program=self.config.program, region=0)
        await worker.change(self.state, 1)
        for name, address in self.addresses.items():
            await worker.ask(Listen, self.sockets[name].fileno(), transport="tcp", address=address)
        return worker

    async def move(self, old: Moving, new: Moving, grace: float | None = 60) -> HandedOver:
        """Have `old` hand over to `new`, as main does; what it says of that."""
        first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        count = len(old.handed_over)
        with first, second:
            await new.ask(TakeOver, first.fileno())
            await old.ask(HandOver, second.fileno(), grace=grace)
        return await old.moves(count + 1)

    async def hand_over(self, old: Moving, grace: float | None = 60) -> Channel[Offer]:
        """Have `old` hand over to the test, which gets the successor's end."""
        first, second = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with second:
            await old.ask(HandOver, second.fileno(), grace=grace)
        self.channels.append(Channel(first, OFFERS))
        return self.channels[-1]

    async def succeed(self, grace: float | None = 60) -> tuple[Moving, HandedOver]:
        """Another worker, to which the last one hands over; and what that says."""
        old = self.workers[-1]
        new = await self.start()
        return new, await self.move(old, new, grace)

    async def unlisten(self, worker: Moving, name: str) -> None:
        await worker.ask(Unlisten, transport="tcp", address=self.addresses[name], grace=None)

    async def client(self, name: str = "http") -> Client:
        self.clients.append(await Client.open(self.addresses[name]))
        return self.clients[-1]

    @property
    def lines(self) -> list[str]:
        """Of the access logs of all workers."""
        return [line for worker in self.workers for line in worker.lines]

    def total(self, counter: str) -> int:
        return sum(getattr(worker.proxy.counters, counter) for worker in self.workers)

    async def close(self) -> None:
        """Stop all that still run; no worker has lost count of anything."""
        for channel in self.channels:
            channel.close()
        for client in self.clients:
            await trio.aclose_forcefully(client.stream)
        for worker in self.workers:
            if not worker.over.is_set() and not worker.scope.cancelled_caught:
                # It may be about to end by itself.
                with contextlib.suppress(BrokenPipeError):
                    await worker.stop(0)
            await worker.over.wait()
            worker.channel.close()
            counters = worker.proxy.counters
            assert (counters.sessions, counters.active_requests, counters.tunnels) == (0, 0, 0)
            assert worker.handler.doors.capacity.taken == 0
            assert len(worker.tally) == 0
            for cluster in worker.proxy.backends.clusters.values():
                assert not any((state.requests, state.connections) != (0, 0) for state in cluster)
        for sock in self.sockets.values():
            sock.close()


@asynccontextmanager
async def open_succession(backend: ScriptedBackend, **parts: str) -> AsyncIterator[Succession]:
    """One worker that serves both listeners of TEXT, whose places are filled by `parts`."""
    log = logging.getLogger("sozu_trio")
    log.setLevel(logging.INFO)
    try:
        async with trio.open_nursery() as nursery:
            succession = Succession(nursery, backend, **parts)
            await succession.start()
            yield succession
            await succession.close()
    finally:
        log.setLevel(logging.NOTSET)


class Successor:
    """The successor's end of the channel, in the hands of a test."""

    def __init__(self, channel: Channel[Offer]) -> None:
        self.channel = channel
        self.descriptors: list[int] = []

    async def hear(self) -> Offer:
        """The next message. Raises EOFError when the old worker has ended."""
        received = await self.channel.receive()
        if received is None:
            raise EOFError
        message, descriptors = received
        self.descriptors += descriptors
        return message

    async def offered(self) -> Offered:
        """The next offer that is one."""
        while True:
            message = await self.hear()
            if isinstance(message, Offered) and message.parcels:
                return message
            await self.channel.send(ROOM)

    def die(self) -> None:
        close_all(self.descriptors)
        self.descriptors.clear()
        self.channel.close()
