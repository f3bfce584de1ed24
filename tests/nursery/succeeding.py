"""A main whose workers are replaced by successors, and their clients."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.config.listeners import TcpListener
from sozu_trio.config.program import Program
from sozu_trio.nursery.succession import Succeeded
from sozu_trio.nursery.supervisor import Supervisor
from sozu_trio.routing.state import State
from tests.nursery.parts import Workers
from tests.nursery.supervising import listening_at

TIMEOUT = 7
DRAIN = 60
PROGRAM = Program(worker_timeout=TIMEOUT, upgrade_drain_timeout=DRAIN)


def listening(*addresses: Address) -> State:
    return listening_at(*(TcpListener(address=address) for address in addresses))


def connect(address: Address) -> list[socket.socket]:
    """So many clients that each queue gets some."""
    return [socket.create_connection((address.host, address.port)) for _ in range(50)]


def number_of(workers: Workers, worker_id: int = 0) -> int:
    """As the how many-th the first worker of that id was started: they start in any order."""
    return workers.ids.index(worker_id)


def served(workers: Workers, number: int) -> int:
    """Clients that came to the worker that was started as the `number`th."""
    return len(workers.handlers[number].names)


@asynccontextmanager
async def running(
    workers: Workers, address: Address, count: int = 2, program: Program = PROGRAM
) -> AsyncIterator[Supervisor]:
    supervisor = Supervisor(program, workers.spawn, workers.take_lines, workers=count)
    async with trio.open_nursery() as nursery:
        await nursery.start(supervisor.run)
        await supervisor.change(listening(address), 1)
        yield supervisor
        await supervisor.stop(0)


class Told:
    """A Progress that remembers."""

    def __init__(self) -> None:
        self.messages: list[str] = []

    async def __call__(self, message: str, _: object) -> None:
        self.messages.append(message)


async def upgrade(supervisor: Supervisor, worker_id: int = 0) -> Succeeded:
    return await supervisor.upgrade(worker_id, Told())


def states(supervisor: Supervisor) -> list[tuple[int, str]]:
    return [(each.id, each.state) for each in (*supervisor.workers, *supervisor.leaving)]


async def come(address: Address, busy: bool = False) -> list[socket.socket]:
    clients = connect(address)
    await wait_all_tasks_blocked()
    if busy:
        for client in clients:
            client.send(b"busy")
        await wait_all_tasks_blocked()
    return clients


def close(clients: list[socket.socket]) -> None:
    for client in clients:
        client.close()
