"""Workers that a main before has left, as tasks of the test."""

import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path

import trio

from sozu_trio.config.program import Program
from sozu_trio.control.channel import Channel, close_all
from sozu_trio.control.messages import Adopted, Ask, CountIn, Reply
from sozu_trio.nursery.adoption import Orphan
from sozu_trio.nursery.bind import bound_address
from sozu_trio.nursery.door import make_door
from sozu_trio.nursery.orphan import Door, introduce
from sozu_trio.nursery.post import Spawned
from sozu_trio.nursery.tally import Tally
from sozu_trio.routing.state import ListenerKey

PATIENCE = 20
PROGRAM = Program(orphan_timeout=5)
SECRET = "ab" * 16


class Left:
    """A worker of this very process that is behind a door of `directory`, and what it was asked since."""

    def __init__(self, directory: Path, worker_id: int) -> None:
        sock, self.path = make_door(directory, worker_id)
        self._door = Door(sock)
        self._worker_id = worker_id
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.key: ListenerKey = ("tcp", bound_address(self.listening))
        self.place = os.memfd_create("where")
        self.asked: list[Ask] = []
        self.replies: list[str | None] = []
        """What it answers each CountIn; nothing once they are used up."""
        self.counts = trio.Event()
        """It has said that it counts."""

    async def serve(self) -> None:
        held = [(self._worker_id, self.key, self.listening), (7, self.key, self.listening)]
        itself = Adopted(worker_id=self._worker_id, program=PROGRAM, secret=SECRET)
        channel = await self._door.next_main(partial(introduce, itself=itself, held=held, own=(self.place,)))
        try:
            while received := await channel.receive():
                message, descriptors = received
                self.asked.append(message)
                if isinstance(message, CountIn):
                    self.tally = Tally(descriptors, message.region)
                    if self.replies:
                        failure = self.replies.pop(0)
                        await channel.send(Reply(serial=message.serial, failure=failure))
                        if failure is None:
                            self.counts.set()
                close_all(descriptors)
        finally:
            channel.close()

    def close(self) -> None:
        self._door.close()
        self.listening.close()
        os.close(self.place)


@asynccontextmanager
async def left(directory: Path, *ids: int) -> AsyncIterator[list[Left]]:
    found = [Left(directory, worker_id) for worker_id in ids]
    try:
        async with trio.open_nursery() as nursery:
            for each in found:
                nursery.start_soon(each.serve)
            yield found
            nursery.cancel_scope.cancel(reason="the test is over")
    finally:
        for each in found:
            each.close()


@contextmanager
def closed(orphans: list[Orphan]) -> Iterator[list[Orphan]]:
    try:
        yield orphans
    finally:
        for orphan in orphans:
            orphan.close()


async def no_spawn(_worker_id: int, _channel: Channel[Ask], *, task_status: trio.TaskStatus[Spawned]) -> None:
    raise AssertionError("nobody is to be started")
