"""All workers of a main: started, asked at once, added up, stopped."""

import logging
import math
import os
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any

import trio

from sozu_trio.config.program import Program
from sozu_trio.control.channel import Channel, channel_pair
from sozu_trio.control.messages import Ask, Begin, Happened, Kill, Lines, Look, Stop
from sozu_trio.nursery.workers import WorkerHandle, WorkerRefused, WorkerSilent
from sozu_trio.routing.state import ListenerKey
from sozu_trio.telemetry.counters import Counters

log = logging.getLogger(__name__)

Spawn = Callable[[int, Channel[Ask]], Awaitable[None]]
"""Runs a worker on its end of a channel until it has stopped."""


class Crew:
    """The workers that were started, also those that have ended: what they counted still counts."""

    def __init__(
        self, program: Program, spawn: Spawn, on_lines: Callable[[Lines], None], on_event: Callable[[Happened], None]
    ) -> None:
        self._program = program
        self._spawn = spawn
        self._on_lines = on_lines
        self._on_event = on_event
        self.workers: list[WorkerHandle] = []

    async def start(self, worker_id: int, nursery: trio.Nursery) -> None:
        """Start a worker in `nursery` and wait until it has begun."""
        ours, theirs = channel_pair()
        patience = self._program.worker_timeout or math.inf
        # A worker is a task of this process.
        handle = WorkerHandle(worker_id, os.getpid(), ours, self._on_lines, self._on_event, patience=patience)
        nursery.start_soon(self._spawn, worker_id, theirs, name=f"worker {worker_id}")
        nursery.start_soon(handle.run, name=f"channel of worker {worker_id}")
        await handle.ask(partial(Begin, worker_id=worker_id, program=self._program))
        self.workers.append(handle)

    @property
    def living(self) -> list[WorkerHandle]:
        return [worker for worker in self.workers if worker.stopped is None]

    @property
    def listening(self) -> set[ListenerKey]:
        """Where at least one accepts."""
        return {key for worker in self.living for key in worker.listening}

    async def ask(
        self, ask: Callable[[WorkerHandle], Awaitable[object]], workers: Iterable[WorkerHandle] | None = None
    ) -> dict[int, WorkerRefused]:
        """`await ask(worker)` for all (None = every living one) at once; returns who refused, by worker id."""
        refusals: dict[int, WorkerRefused] = {}

        async def ask_one(worker: WorkerHandle) -> None:
            try:
                await ask(worker)
            except WorkerRefused as refused:
                refusals[worker.worker_id] = refused

        async with trio.open_nursery() as nursery:
            for worker in self.living if workers is None else workers:
                nursery.start_soon(ask_one, worker)
        return refusals

    async def look(self, what: str, query: Mapping[str, Any]) -> dict[int, Any]:
        """What each worker answers (`nursery/looks.py`), by worker id; one that does not answer is left out.

        Raises WorkerRefused for what cannot be asked.
        """
        found: dict[int, Any] = {}

        async def look(worker: WorkerHandle) -> None:
            found[worker.worker_id] = await worker.ask_in_time(partial(Look, what=what, query=query))

        for refused in (await self.ask(look)).values():
            if not isinstance(refused, WorkerSilent):
                raise refused
            log.warning("%s", refused)
        return found

    async def kill_session(self, session: str) -> bool:
        """Cut one session; whether there was one of that name. Raises WorkerRefused when a worker cannot be asked and
        no other one had it.
        """
        found = False

        async def kill(worker: WorkerHandle) -> None:
            nonlocal found
            found = await worker.ask_in_time(partial(Kill, session=session)) or found

        refusals = await self.ask(kill)
        if refusals and not found:
            raise next(iter(refusals.values()))
        return found

    def counters(self) -> Counters:
        """The sum over all workers, of those that have ended what they said last."""
        total = Counters()
        for worker in self.workers:
            total.add(worker.counters)
        return total

    async def stop(self, grace: float | None) -> None:
        """Tell every worker to stop; may be called again with less patience. Raises WorkerRefused."""
        for worker in self.living:
            worker.stopping = True
            worker.listening.clear()
        for worker_id, refused in (await self.ask(lambda worker: worker.ask(partial(Stop, grace=grace)))).items():
            # The last session may have ended just now.
            if any(worker.worker_id == worker_id for worker in self.living):
                raise refused
