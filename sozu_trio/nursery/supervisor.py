"""Main: owns State and the listening sockets, tells workers, and ends them.

A change is a transaction: bind what is new → every worker prepares → (the journal's place) → listeners that are gone
drain → every worker commits → listeners that are new begin. Whatever fails before the journal leaves everything as it
was; after it nothing stops half way. Who drains does so before the commit, so that no connection is let in for a
listener the Table does not have.
"""

import logging
import math
import socket
from collections.abc import Awaitable, Callable, Iterable

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.program import Program
from sozu_trio.control.channel import Channel, channel_pair
from sozu_trio.control.messages import Ask, Begin, Commit, Lines, Listen, Prepare, Stop, Unlisten
from sozu_trio.errors import OperatorError
from sozu_trio.nursery.bind import bound_address, open_listening_socket
from sozu_trio.nursery.worker import grace_of
from sozu_trio.nursery.workers import WorkerHandle, WorkerRefused
from sozu_trio.routing.state import EMPTY, ListenerKey, State

log = logging.getLogger(__name__)

Spawn = Callable[[int, Channel[Ask]], Awaitable[None]]
"""Runs a worker on its end of a channel until it has stopped."""


class Supervisor:
    """One main with its workers. `run` first, then `change`, then `stop`."""

    def __init__(self, program: Program, spawn: Spawn, on_lines: Callable[[Lines], None]) -> None:
        self.program = program
        self.state: State = EMPTY
        self.generation = 0
        self.stopped = trio.Event()
        """The last worker has stopped."""
        self._spawn = spawn
        self._on_lines = on_lines
        self._workers: list[WorkerHandle] = []
        self._sockets: dict[ListenerKey, socket.socket] = {}
        self._inherited: dict[ListenerKey, socket.socket] = {}
        self._changing = trio.Lock()
        self._stopping = False

    def inherit(self, sockets: Iterable[socket.socket]) -> None:
        """Take over sockets that already listen; each serves the listener of its address."""
        for sock in sockets:
            sock.setblocking(False)
            self._inherited["tcp", bound_address(sock)] = sock

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Start the workers and serve them until the last has stopped."""
        try:
            async with trio.open_nursery() as workers:
                await self._start_worker(0, workers)
                task_status.started()
            self.stopped.set()
        finally:
            for sock in (*self._sockets.values(), *self._inherited.values()):
                sock.close()

    async def _start_worker(self, worker_id: int, workers: trio.Nursery) -> None:
        ours, theirs = channel_pair()
        handle = WorkerHandle(worker_id, ours, self._on_lines)
        workers.start_soon(self._spawn, worker_id, theirs, name=f"worker {worker_id}")
        workers.start_soon(handle.run, name=f"channel of worker {worker_id}")
        await handle.ask(lambda serial: Begin(serial=serial, worker_id=worker_id, program=self.program))
        self._workers.append(handle)

    async def change(self, state: State) -> int:
        """Make `state` what everybody serves by, as one transaction; returns its generation.

        Raises OperatorError when an address cannot be listened on, and WorkerRefused when a worker cannot prepare:
        nothing has changed then. Raises OperatorError also when the proxy is stopping; a stop in the middle of a change
        leaves nothing listening.
        """
        async with self._changing:
            self._refuse_while_stopping()
            try:
                return await self._change(state)
            except WorkerRefused:
                # A worker that stops refuses much, and has no better reason.
                self._refuse_while_stopping()
                raise

    def _refuse_while_stopping(self) -> None:
        if self._stopping:
            raise OperatorError("the proxy is stopping: nothing can be changed")

    async def _change(self, state: State) -> int:
        wanted = {key for key, listener in state.listeners.items() if listener.active}
        generation = self.generation + 1
        opened: dict[ListenerKey, socket.socket] = {}
        try:
            self._open(wanted - self._sockets.keys(), opened)
            await self._prepare(state, generation)
            self._refuse_while_stopping()
        except BaseException:
            for key in opened.keys() - self._inherited.keys():
                opened[key].close()
            raise
        # Decided: whoever asked for it may go away, the change does not stop half way.
        with trio.fail_after(self.program.worker_timeout or math.inf, shield=True):
            await self._carry_out(state, generation, opened, self._sockets.keys() - wanted)
        return generation

    async def _prepare(self, state: State, generation: int) -> None:
        timeout = self.program.worker_timeout or math.inf
        try:
            with trio.fail_after(timeout):
                await self._ask_all(lambda serial: Prepare(serial=serial, generation=generation, state=state))
        except trio.TooSlowError as error:
            # A worker without a descriptor free for a large State never knew what was asked.
            raise WorkerRefused(f"no answer to Prepare within {timeout:g} s") from error

    def _open(self, keys: Iterable[ListenerKey], opened: dict[ListenerKey, socket.socket]) -> None:
        """Put a socket for each of `keys` into `opened`; an inherited one is no less inherited before the change is
        decided.
        """
        for key in sorted(keys):
            ours = [address for _, address in (*self._sockets, *self._inherited, *opened)]
            opened[key] = self._inherited.get(key) or open_listening_socket(key[1], ours)

    async def _carry_out(
        self,
        state: State,
        generation: int,
        opened: dict[ListenerKey, socket.socket],
        gone: Iterable[ListenerKey],
    ) -> None:
        for key in opened:
            self._inherited.pop(key, None)
        unheard = dict(opened)
        try:
            for key in gone:
                await self._unlisten(key)
                self._refuse_while_stopping()
            await self._ask_all(lambda serial: Commit(serial=serial, generation=generation))
            self.state, self.generation = state, generation
            for key, sock in opened.items():
                self._refuse_while_stopping()
                # From here on `stop` closes it.
                self._sockets[key] = sock
                await self._listen(key, sock)
                del unheard[key]
        finally:
            # Nobody accepts there: clients would wait for ever in a queue.
            for key, sock in unheard.items():
                self._sockets.pop(key, None)
                sock.close()

    async def _listen(self, key: ListenerKey, sock: socket.socket) -> None:
        transport, address = key
        descriptors = [sock.fileno()]
        await self._ask_all(lambda serial: Listen(serial=serial, transport=transport, address=address), descriptors)
        log.info("listening on %s %s", transport, address)

    async def _unlisten(self, key: ListenerKey) -> None:
        transport, address = key
        grace = grace_of(self.program.shutdown_timeout)
        # Ours first, as in `stop`, which may have closed it by now.
        sock = self._sockets.pop(key, None)
        if sock is not None:
            sock.close()
        await self._ask_all(lambda serial: Unlisten(serial=serial, transport=transport, address=address, grace=grace))
        log.info("no longer listening on %s %s", transport, address)

    async def _ask_all(self, make: Callable[[int], Ask], descriptors: Iterable[int] = ()) -> None:
        for worker in self._workers:
            await worker.ask(make, list(descriptors))

    async def stop(self, grace: float | None) -> None:
        """Have every worker stop: no new connections, the idle leave, the rest is cut after `grace` seconds (None =
        never).

        May be called again with less patience. `run` returns when the last worker has stopped.
        """
        self._stopping = True
        # Workers take what is queued before they close theirs; ours, open a moment longer, would let in some that
        # nobody takes.
        for sock in self._sockets.values():
            sock.close()
        self._sockets.clear()
        for worker in self._workers:
            if worker.stopped is None:
                await self._stop_worker(worker, grace)

    async def _stop_worker(self, worker: WorkerHandle, grace: float | None) -> None:
        try:
            await worker.ask(lambda serial: Stop(serial=serial, grace=grace))
        except WorkerRefused:
            # The last session may have ended just now.
            if worker.stopped is None:
                raise

    @property
    def listening(self) -> list[Address]:
        """Where connections are accepted now."""
        return [address for _, address in sorted(self._sockets)]

    @property
    def cut(self) -> int:
        """How many sessions the stop has cut."""
        return sum(worker.stopped.cut for worker in self._workers if worker.stopped)
