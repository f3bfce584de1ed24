"""A worker: control, services and listeners in one tree, and the one place that swaps the Table.

    worker
     ├─ control      messages from main, one after the other
     ├─ services     what the handler needs beside its sessions
     ├─ lines        access-log lines to main, in batches
     └─ listeners    one node each (nursery/listener.py)

It talks to main through its channel and nothing else, so it does not know whether it is a process or a task. Services
outlive sessions: they are cancelled when the last session has gone.
"""

import contextlib
import dataclasses
import logging
import math
import os
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import trio

from sozu_trio.config.limits import GOODBYE
from sozu_trio.config.program import Program
from sozu_trio.control.channel import Channel, DescriptorsLost
from sozu_trio.control.messages import Ask, Begin, Commit, Lines, Listen, Prepare, Reply, Stop, Stopped, Unlisten
from sozu_trio.errors import ChannelError
from sozu_trio.nursery.drain import release_idle
from sozu_trio.nursery.listener import Doorkeeping, ListenerNode, serve_listener
from sozu_trio.routing.state import ListenerKey
from sozu_trio.routing.table import Table, compile_table
from sozu_trio.telemetry.lines import LineBuffer

log = logging.getLogger(__name__)

LINES_PER_MESSAGE = 256
"""Enough that a message costs little per line, few enough that it mostly stays below INLINE_SIZE."""
LINES_PERIOD = 0.05
"""Seconds lines are collected for one message."""
RELIEF = 16
"""Descriptors to be given back at a time when they have run out."""


class Handler(Protocol):
    """What connections are served by; made by the application, so that this package need not know it."""

    @property
    def doors(self) -> Doorkeeping: ...
    @property
    def lines(self) -> LineBuffer: ...
    @property
    def services(self) -> Sequence[Callable[[], Awaitable[None]]]: ...
    def relieve_with(self, relieve: Callable[[], int]) -> None:
        """Have `relieve` called where descriptors run out."""

    def swap(self, table: Table) -> None:
        """Serve by `table` from now on; synchronous, between two checkpoints."""


async def serve_worker(channel: Channel[Ask], make_handler: Callable[[Program, int], Handler]) -> None:
    """Serve main's `channel` until it says stop, or is gone, and the last session has ended. Raises ChannelError for a
    wrong beginning.
    """
    received = await channel.receive()
    if received is None:
        return
    begin, descriptors = received
    _close_all(descriptors)
    if not isinstance(begin, Begin):
        raise ChannelError(f"the first message was {type(begin).__name__}, not Begin")
    worker = Worker(channel, make_handler(begin.program, begin.worker_id), grace_of(begin.program.shutdown_timeout))
    await channel.send(Reply(serial=begin.serial))
    await worker.run()
    with contextlib.suppress(OSError):
        await channel.send(Stopped(cut=worker.cut))


class Worker:
    """The live tree of one worker."""

    def __init__(self, channel: Channel[Ask], handler: Handler, grace: float | None) -> None:
        """`grace`: seconds that sessions get once main is gone."""
        self.listeners: dict[ListenerKey, ListenerNode] = {}
        """Those that accept."""
        self.nodes: set[ListenerNode] = set()
        """These and those that still drain."""
        self.cut = 0
        self._channel = channel
        self._handler = handler
        self._doors = dataclasses.replace(handler.doors, relieve=self._relieve)
        handler.relieve_with(self._relieve)
        self._grace = grace
        self._prepared: Table | None = None
        self._stop = trio.Event()
        self._unsent: list[str] = []
        self._drops_told = 0

    async def run(self) -> None:
        async with trio.open_nursery() as services:
            services.start_soon(self._send_lines, name="lines")
            for service in self._handler.services:
                services.start_soon(service)
            async with trio.open_nursery() as listeners:
                services.start_soon(self._control, listeners, name="control")
                await self._stop.wait()
            services.cancel_scope.cancel(reason="the last session has ended")

    async def _control(self, listeners: trio.Nursery) -> None:
        try:
            while await self._answer_next(listeners):
                pass
            log.warning("main is gone: stopping")
        except (ChannelError, OSError) as error:
            log.error("main is lost: %s: stopping", error)
        self._prepared = None
        self._stop_all(self._grace)

    async def _answer_next(self, listeners: trio.Nursery) -> bool:
        """Answer main's next message; whether there was one."""
        try:
            received = await self._channel.receive()
        except DescriptorsLost as loss:
            # No reason to lose every session as well. Main waits in vain only where the serial was lost too.
            log.error("%s", loss)
            if isinstance(loss.message, Ask):
                await self._channel.send(Reply(serial=loss.message.serial, failure=str(loss)))
            return True
        if received is None:
            return False
        message, descriptors = received
        await self._channel.send(await self._answer(message, descriptors, listeners))
        return True

    async def _answer(self, message: Ask, descriptors: list[int], listeners: trio.Nursery) -> Reply:
        name = type(message).__name__
        try:
            await self._obey(message, descriptors, listeners)
        except (ChannelError, ValueError) as refusal:
            log.warning("%s refused: %s", name, refusal)
            return Reply(serial=message.serial, failure=str(refusal))
        except Exception as error:
            log.exception("%s failed", name)
            return Reply(serial=message.serial, failure=f"{type(error).__name__}: {error}")
        finally:
            _close_all(descriptors)
        return Reply(serial=message.serial)

    async def _obey(self, message: Ask, descriptors: list[int], listeners: trio.Nursery) -> None:
        match message:
            case Prepare():
                self._prepared = compile_table(message.state, message.generation)
            case Commit():
                self._commit(message.generation)
            case Listen():
                await self._listen((message.transport, message.address), descriptors, listeners)
            case Unlisten():
                await self._unlisten((message.transport, message.address), message.grace)
            case Stop():
                self._stop_all(message.grace)
            case Begin():
                raise ChannelError("Begin comes once")

    def _commit(self, generation: int) -> None:
        table = self._prepared
        if table is None or table.generation != generation:
            raise ChannelError(f"generation {generation} was not prepared")
        self._prepared = None
        self._handler.swap(table)

    async def _listen(self, key: ListenerKey, descriptors: list[int], listeners: trio.Nursery) -> None:
        """Take what is listened on out of `descriptors` and accept on it."""
        if len(descriptors) != 1:
            raise ChannelError(f"Listen came with {len(descriptors)} descriptors")
        if self._stop.is_set():
            raise ChannelError("the worker is stopping")
        if key in self.listeners:
            raise ChannelError(f"already listening at {key[1]}")
        sock = socket.socket(fileno=descriptors[0])
        descriptors.clear()
        sock.setblocking(False)
        node = ListenerNode(key, sock)
        self.listeners[key] = node
        await listeners.start(self._serve_listener, node, name=node.name)

    async def _serve_listener(
        self,
        node: ListenerNode,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        self.nodes.add(node)
        try:
            await serve_listener(node, self._doors, task_status=task_status)
        finally:
            self.cut += node.cut
            self.nodes.discard(node)

    async def _unlisten(self, key: ListenerKey, grace: float | None) -> None:
        # Out of the map at once: the address may be listened to again while old sessions still drain.
        node = self.listeners.pop(key, None)
        if node is None:
            raise ChannelError(f"not listening at {key[1]}")
        node.stop(grace)
        # Whoever was in the queue begins under a Table that knows the listener: the next one comes after our reply.
        await node.closed.wait()

    def _stop_all(self, grace: float | None) -> None:
        self.listeners.clear()
        for node in self.nodes:
            node.stop(grace)
        self._stop.set()

    def _relieve(self) -> int:
        """Descriptors have run out: close what nobody uses, then have clients leave who only wait, the oldest first."""
        freed = self._handler.doors.relieve()
        return freed + release_idle([node.drain for node in self.nodes], max(0, RELIEF - freed))

    async def _send_lines(self) -> None:
        try:
            while True:
                await self._handler.lines.wait()
                await trio.sleep(LINES_PERIOD)
                await self._send_batches()
        finally:
            with trio.move_on_after(GOODBYE, shield=True):
                await self._send_batches()

    async def _send_batches(self) -> None:
        lines = self._handler.lines
        while batch := self._unsent or lines.take(LINES_PER_MESSAGE):
            # A send that is cancelled has sent nothing.
            self._unsent = batch
            dropped = lines.dropped
            try:
                await self._channel.send(Lines(lines="\n".join(batch), dropped=dropped - self._drops_told))
                self._drops_told = dropped
            except OSError:
                # Main is gone and its logs with it, or there is no descriptor for a large batch.
                lines.drop(len(batch))
            self._unsent = []


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def grace_of(timeout: float) -> float | None:
    """`shutdown_timeout` as a grace: 0 means for ever."""
    return None if timeout in {0, math.inf} else timeout
