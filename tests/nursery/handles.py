"""Main's end of a worker, and the test at the other end."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.control.channel import INLINE, Channel
from sozu_trio.control.codec import encode
from sozu_trio.control.messages import (
    ASKS,
    REPORTS,
    Ask,
    Commit,
    Happened,
    Lines,
    Logged,
    Report,
)
from sozu_trio.nursery.workers import WorkerHandle
from tests.descriptors import no_descriptor_free
from tests.nursery.parts import send_large

PATIENCE = 5
OWN = "2026-01-31T12:00:00.000042Z 4711 INFO-ACCESS WRK-02\t"


class Heard:
    """What a handle has passed on."""

    def __init__(self) -> None:
        self.lines: list[Lines | Logged] = []
        self.events: list[Happened] = []


def make_handle(channel: Channel[Report], heard: Heard) -> WorkerHandle:
    return WorkerHandle(2, 4711, channel, heard.lines.append, heard.events.append, patience=PATIENCE)


class Wire(Channel[Ask]):
    """The worker's end, and a way to say something at a time when main has no descriptor free."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock, ASKS)
        self._raw = sock

    async def send_unread(self, report: Report, *sockets: socket.socket) -> None:
        if sockets:
            socket.send_fds(self._raw, [INLINE + encode(report)], [sock.fileno() for sock in sockets])
        else:
            send_large(self._raw, report)
        with no_descriptor_free():
            await wait_all_tasks_blocked()


@asynccontextmanager
async def handle(heard: Heard | None = None) -> AsyncIterator[tuple[WorkerHandle, Wire]]:
    """A handle that runs, and the end its worker would have."""
    ours, sock = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made, theirs = make_handle(Channel(ours, REPORTS), heard or Heard()), Wire(sock)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        yield made, theirs
    theirs.close()


async def commit(worker: WorkerHandle) -> None:
    await worker.ask(partial(Commit, generation=1))


async def next_serial(channel: Channel[Ask]) -> int:
    received = await channel.receive()
    assert received is not None
    return received[0].serial
