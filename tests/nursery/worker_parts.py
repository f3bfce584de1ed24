"""A worker that is a task of the test, and main's end of its channel."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.program import Program
from sozu_trio.control.channel import Channel
from sozu_trio.control.messages import (
    ASKS,
    REPORTS,
    Amend,
    Ask,
    Begin,
    Commit,
    Counted,
    Happened,
    Lines,
    Listen,
    Look,
    Prepare,
    Reply,
    Stopped,
)
from sozu_trio.nursery.tally import Tally
from sozu_trio.nursery.worker import serve_worker
from sozu_trio.routing.delta import Delta
from sozu_trio.telemetry.counters import Counters, read_counters
from tests.nursery.counting import REGIONS
from tests.nursery.parts import FakeHandler

ADDRESS = Address("127.0.0.1", 8080)


class Main:
    """Main's end of a worker that runs, and what the worker has said unasked."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.channel = Channel(sock, REPORTS)
        self.handlers: list[FakeHandler] = []
        self.lines: list[str] = []
        self.dropped = 0
        self.events: list[Happened] = []
        self.counters: Counters | None = None
        self.content: Any = None
        """Of the last reply."""

    @property
    def handler(self) -> FakeHandler:
        return self.handlers[0]

    def make_handler(self, program: Program, worker_id: int, tally: Tally) -> FakeHandler:
        self.handlers.append(FakeHandler(program, worker_id, tally))
        return self.handler

    async def says(self) -> Reply | Stopped | None:
        """The next thing the worker says that is a reply or its last."""
        while received := await self.channel.receive():
            report, descriptors = received
            assert not descriptors
            match report:
                case Reply() | Stopped():
                    return report
                case Lines():
                    self.lines += report.lines.split("\n")
                    self.dropped += report.dropped
                case Happened():
                    self.events.append(report)
                case Counted():
                    self.counters = read_counters(report.counters)
        return None

    async def ask(self, message: Ask, *descriptors: int) -> str | None:
        """What `message` failed with; None when it was obeyed."""
        await self.channel.send(message, descriptors)
        reply = await self.says()
        assert isinstance(reply, Reply)
        assert reply.serial == message.serial
        self.content = reply.content
        return reply.failure

    async def look(self, what: str, **query: object) -> Any:
        assert await self.ask(Look(serial=8, what=what, query=query)) is None
        return self.content

    async def change(self, delta: Delta, generation: int, base: int | None = None) -> None:
        """Have `delta` in force as `generation`."""
        for message in (
            Amend(serial=2, attempt=generation, base=base, delta=delta),
            Prepare(serial=3, attempt=generation, generation=generation),
            Commit(serial=4, generation=generation),
        ):
            assert await self.ask(message) is None

    async def listen(self, sock: socket.socket, address: Address = ADDRESS) -> str | None:
        return await self.ask(Listen(serial=7, transport="tcp", address=address), sock.fileno())


@asynccontextmanager
async def started(program: Program = Program()) -> AsyncIterator[Main]:  # noqa: B008 - it is frozen
    """A worker that has begun; the test ends it."""
    ours, their_sock = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs = Channel(their_sock, ASKS)
    main = Main(ours)
    async with trio.open_nursery() as nursery:

        async def run() -> None:
            await serve_worker(theirs, main.make_handler)
            theirs.close()

        nursery.start_soon(run)
        begin = Begin(serial=1, worker_id=3, program=program, region=0, authorities="PEM")
        assert await main.ask(begin, *REGIONS.descriptors) is None
        yield main
    ours.close()


def is_closed(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False


def names_in(node: dict[str, Any]) -> list[str]:
    return [node["name"], *(name for child in node["children"] for name in names_in(child))]
