"""One worker, from its start to its end: spawned or found, told to begin, heard and watched."""

import logging
import math
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from sozu_trio.config.limits import GOODBYE
from sozu_trio.config.program import Program
from sozu_trio.control.channel import Channel, channel_pair
from sozu_trio.control.messages import Beat, Begin, CountIn, Happened, Lines, Logged, Report
from sozu_trio.errors import ChannelError
from sozu_trio.nursery.post import Post, Spawn, Spawned
from sozu_trio.nursery.regions import Regions
from sozu_trio.nursery.workers import WorkerHandle, WorkerRefused, WorkerSilent
from sozu_trio.tls.trusted import read_system_trusted

log = logging.getLogger(__name__)

STARTING: Final = 30.0
"""Seconds a worker gets at least for its first answer: a process has to start on a machine that may be busy."""
COUNT_AGAIN: Final = 5.0
"""Seconds until a worker is told anew where to count that could not be told."""

Begun = Callable[[WorkerHandle], None]


class Tenure:
    """What every worker of a main goes through."""

    def __init__(
        self,
        program: Program,
        spawn: Spawn,
        on_lines: Callable[[Lines | Logged], None],
        on_event: Callable[[Happened], None],
        on_stranded: Callable[[], None],
    ) -> None:
        """What workers tell goes to `on_lines` and `on_event`; `on_stranded`: one has lost its way to a successor."""
        self.regions = Regions()
        """Where they count together."""
        self._program = program
        self._spawn = spawn
        self._on_lines = on_lines
        self._on_event = on_event
        self._on_stranded = on_stranded

    async def run(self, worker_id: int, post: Post, begun: Begun) -> WorkerHandle | OSError:
        """Run whoever is to hold `post` to the end; `begun` is called once it is ready for work. Returns why it could
        not be started where it could not.
        """
        found = post.found
        try:
            ours, run = self._new(worker_id) if found is None else (found.channel, found.stay)
        except OSError as error:
            post.failure = str(error)
            return error
        worker: WorkerHandle | None = None
        ended = False
        try:
            async with trio.open_nursery() as spawning:
                try:
                    spawned: Spawned = await spawning.start(run, name=f"worker {worker_id}")
                except OSError as error:
                    post.failure = str(error)
                    return error
                worker = self._employ(worker_id, spawned, ours, post)
                said_all = await self._hear(worker, spawned, post, begun)
                if found is not None:
                    found.given_up = True
                # It ends by itself after its last word; whoever says none is of no use any more.
                spawning.cancel_scope.deadline = trio.current_time() + (GOODBYE if said_all else 0)
            ended = True
        finally:
            post.pid = None
            ours.close()
            # One that was found serves on where main ends without having given it up.
            if worker is not None and worker.region >= 0 and (ended or found is None or found.given_up):
                self.regions.take_back(worker.region, worker.pid)
        return worker

    def _new(self, worker_id: int) -> tuple[Channel[Report], Callable[..., Awaitable[None]]]:
        """Main's end of a new worker's channel, and what runs that worker."""
        ours, theirs = channel_pair()
        return ours, partial(self._spawn, worker_id, theirs)

    def _employ(self, worker_id: int, spawned: Spawned, ours: Channel[Report], post: Post) -> WorkerHandle:
        post.pid = spawned.pid
        patience = (self._program.worker_timeout or math.inf) if post.patience is None else post.patience
        worker = WorkerHandle(worker_id, spawned.pid, ours, self._on_lines, self._on_event, patience=patience)
        worker.on_stranded = self._on_stranded
        if post.found is not None:
            worker.listening, worker.generation = set(post.found.listening), post.found.generation
        return worker

    async def _hear(self, worker: WorkerHandle, spawned: Spawned, post: Post, begun: Begun) -> bool:
        """Have a worker begin and take what it says; whether it has said its last word."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._attend, worker, spawned, post, begun)
                if post.found is not None:
                    nursery.start_soon(self._have_count, worker)
                await worker.run()
                nursery.cancel_scope.cancel(reason="it has said its last word")
        except* ChannelError as lost:
            post.failure = str(lost.exceptions[0])
            log.error("%s", post.failure)
        return worker.stopped is not None

    async def _attend(self, worker: WorkerHandle, spawned: Spawned, post: Post, begun: Begun) -> None:
        if post.found is None:
            await self._begin(worker)
        post.worker = worker
        begun(worker)
        if spawned.where is not None and worker.patience < math.inf:
            await self._watch(worker, spawned.where)

    async def _begin(self, worker: WorkerHandle) -> None:
        """Raises ChannelError when it cannot, or does not say so in time."""
        worker.region = self.regions.give(worker.pid)
        begin = partial(
            Begin,
            worker_id=worker.worker_id,
            program=self._program,
            region=worker.region,
            authorities=read_system_trusted(),
        )
        try:
            await worker.ask_in_time(begin, self.regions.memories, at_least=STARTING)
        except WorkerRefused as refused:
            raise ChannelError(str(refused)) from refused

    async def _have_count(self, worker: WorkerHandle) -> None:
        """Have a worker that was found count in our memory, with all others; tried again where it has no descriptors
        free. Raises ChannelError when there is no region for it.
        """
        worker.region = self.regions.give(worker.pid)
        while not worker.over:
            try:
                await worker.ask_in_time(partial(CountIn, region=worker.region), self.regions.memories)
                return
            except WorkerRefused as refused:
                log.warning("%s", refused)
                await trio.sleep(COUNT_AGAIN)

    async def _watch(self, worker: WorkerHandle, where: Callable[[], Awaitable[str]]) -> None:
        """Raises ChannelError when it leaves a question unanswered for too long."""
        while True:
            await trio.sleep(worker.patience / 2)
            try:
                await worker.ask_in_time(Beat)
            except WorkerSilent as silent:
                raise ChannelError(f"{silent}: it is killed. {await where()}") from silent
