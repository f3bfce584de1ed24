"""A main with workers that are tasks of the test, and addresses for it to listen on."""

import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Cluster
from sozu_trio.config.listeners import Listener
from sozu_trio.config.program import Program
from sozu_trio.nursery.supervisor import Supervisor
from sozu_trio.routing.state import State, declare
from tests.nursery.parts import Workers

TIMEOUT = 7
PROGRAM = Program(worker_timeout=TIMEOUT)


@asynccontextmanager
async def running(
    workers: Workers,
    *listeners: Listener,
    program: Program = PROGRAM,
    inherited: Iterable[socket.socket] = (),
    count: int = 1,
) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(program, workers.spawn, workers.take_lines, workers.events.append, workers=count)
    supervisor.inherit(inherited)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await supervisor.change(listening_at(*listeners), 1)
        yield supervisor
        await supervisor.stop(0)


def listening_at(*listeners: Listener) -> State:
    return declare(listeners, [], [], [], [])


def connect(address: Address) -> socket.socket:
    return socket.create_connection((address.host, address.port))


def accepts(address: Address) -> bool:
    try:
        connect(address).close()
    except ConnectionRefusedError:
        return False
    return True


def cluster_state(*numbers: int, listeners: Iterable[Listener] = ()) -> State:
    return declare(listeners, [Cluster(cluster_id=str(number)) for number in numbers], [], [], [])


class Journal:
    """Counts what was written down, as slowly as a disk."""

    def __init__(self) -> None:
        self.begun = 0
        self.written = 0

    async def write(self) -> None:
        self.begun += 1
        for _ in range(3):
            await trio.lowlevel.checkpoint()
        self.written += 1
