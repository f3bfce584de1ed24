"""Sockets and a handler for tests of who lives and who dies."""

import itertools
import resource
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager

import trio

from sozu_trio.config.program import Program
from sozu_trio.nursery.capacity import Capacity
from sozu_trio.nursery.listener import Doorkeeping, SessionNode
from sozu_trio.routing.state import ListenerKey
from sozu_trio.routing.table import Table
from sozu_trio.telemetry.lines import LineBuffer


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


@contextmanager
def no_descriptor_free() -> Iterator[None]:
    """Those that are open stay so; no other can be had."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


class FakeHandler:
    """A handler that remembers the generations it was given; sessions last until their client closes, or until
    `release`.
    """

    def __init__(self, program: Program, worker_id: int) -> None:
        self.program = program
        self.worker_id = worker_id
        self.generations: list[int] = []
        self.lines = LineBuffer(1000)
        self.service_ended_at: float | None = None
        self.freed = 0
        self.release = trio.Event()
        self.names: list[str] = []
        numbers = itertools.count(1)
        self.doors = Doorkeeping(
            serve=self._serve,
            refuse=self._refuse,
            relieve=lambda: self.freed,
            next_name=lambda: f"session-{next(numbers)}",
            capacity=Capacity(program.max_connections),
        )

    @property
    def services(self) -> Sequence[Callable[[], Awaitable[None]]]:
        return [self._service]

    def relieve_with(self, relieve: Callable[[], int]) -> None:
        self.relieve = relieve

    def swap(self, table: Table) -> None:
        self.generations.append(table.generation)

    async def _service(self) -> None:
        try:
            await trio.sleep_forever()
        finally:
            self.service_ended_at = trio.current_time()

    async def _serve(self, node: SessionNode) -> None:
        """Idle until the client says something, then busy."""
        self.names.append(node.name)
        scope = trio.CancelScope()
        node.listener.drain.enter_idle(scope)
        with scope:
            await trio.lowlevel.wait_readable(node.sock)
            node.listener.drain.leave_idle(scope)
            if node.sock.recv(10) == b"busy":
                await self.release.wait()
        self.lines.append(f"{node.name} is over")

    async def _refuse(self, sock: socket.socket, key: ListenerKey, polite: bool) -> None:
        raise AssertionError("nobody is refused here")
