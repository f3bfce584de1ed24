"""All workers of a main: started, replaced when they die, asked at once, added up, stopped."""

import itertools
import logging
import math
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import trio

from sozu_trio.config.limits import GOODBYE
from sozu_trio.config.program import Program
from sozu_trio.control.channel import Channel, channel_pair
from sozu_trio.control.messages import Ask, Beat, Begin, Happened, Kill, Lines, Logged, Look, Report, Stop
from sozu_trio.errors import ChannelError, OperatorError
from sozu_trio.nursery.estate import WorkerLeft
from sozu_trio.nursery.workers import WorkerHandle, WorkerRefused, WorkerSilent
from sozu_trio.routing.state import ListenerKey
from sozu_trio.telemetry.counters import Counters
from sozu_trio.telemetry.plural import count

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before a worker is started anew that died soon after its start; doubled each time."""
HEALTHY_AFTER = 10.0
"""Seconds a worker lives before its death counts as the first one again: it is replaced at once."""


@dataclass(frozen=True, slots=True)
class Spawned:
    """A worker that has been started."""

    pid: int
    where: Callable[[], Awaitable[str]] | None = None
    """Tells what it is doing, if it can be told to tell. None for a task of main, which cannot hang alone."""


class Spawn(Protocol):
    """Runs a worker on its end of a channel until it has ended; says so as soon as it is started.

    Cancelled, it ends the worker at once.
    """

    async def __call__(
        self, worker_id: int, channel: Channel[Ask], /, *, task_status: trio.TaskStatus[Spawned]
    ) -> None: ...


class Found(Protocol):
    """A worker that runs already (`nursery/adoption.py`)."""

    channel: Channel[Report]
    listening: set[ListenerKey]
    """Where it accepts on sockets of its own."""
    generation: int | None
    """The one it serves by; None = to be told everything anew."""
    given_up: bool
    """Set when it has said its last or is of no use: `stay` ends it when it is cancelled then."""

    async def stay(self, *, task_status: trio.TaskStatus[Spawned]) -> None:
        """As Spawn."""


@dataclass(slots=True, eq=False)
class _Post:
    """What a worker and its successors are kept at."""

    found: Found | None
    """Whoever holds it now, where that is one that main has found."""
    given_up: trio.Event = field(default_factory=trio.Event)
    """Nobody is to follow whoever holds it now."""
    dismissed: bool = False
    """The others go on."""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    def dismiss(self) -> None:
        self.dismissed = True
        self.give_up(None)

    def give_up(self, grace: float | None) -> None:
        """Whoever holds it is to end by itself, and is killed if it has not done so soon after `grace` seconds."""
        self.given_up.set()
        if self.found is not None:
            self.found.given_up = True
        if grace is not None:
            self.scope.deadline = min(self.scope.deadline, trio.current_time() + grace + 2 * GOODBYE)


class Crew:
    """One worker for each id, the lowest there are, and what those before them have counted."""

    def __init__(
        self,
        program: Program,
        spawn: Spawn,
        on_lines: Callable[[Lines | Logged], None],
        on_event: Callable[[Happened], None],
        on_move: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_move` is called when a worker has died, and when another one has begun in its place."""
        self._program = program
        self._spawn = spawn
        self._on_lines = on_lines
        self._on_event = on_event
        self._on_move = on_move
        self._workers: dict[int, WorkerHandle] = {}
        self._posts: dict[int, _Post] = {}
        self._past = Counters()
        """Of workers that have been replaced."""
        self._stopping = trio.Event()

    @property
    def workers(self) -> list[WorkerHandle]:
        """By id; the latest one of each."""
        return [self._workers[worker_id] for worker_id in sorted(self._workers)]

    @property
    def living(self) -> list[WorkerHandle]:
        return [worker for worker in self.workers if not worker.over]

    @property
    def listening(self) -> dict[int, set[ListenerKey]]:
        """Where each of the living accepts, by id."""
        return {worker.worker_id: worker.listening for worker in self.living}

    async def keep(
        self,
        worker_id: int,
        found: Found | None = None,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run a worker, and another one whenever it dies, until they have been told to stop.

        `found` is the first one, which runs already. Raises OperatorError when the first one dies before it has begun.
        """
        post = self._posts[worker_id] = _Post(found)
        if self._stopping.is_set():
            post.given_up.set()
        try:
            with post.scope:
                await self._keep(worker_id, post, task_status)
        finally:
            del self._posts[worker_id]
            if post.dismissed:
                self._part_with(worker_id)
            elif post.scope.cancelled_caught:
                log.error("worker %d has not ended in time: it is killed", worker_id)

    async def _keep(self, worker_id: int, post: _Post, task_status: trio.TaskStatus[None]) -> None:
        pause = 0.0
        while not post.given_up.is_set():
            began = trio.current_time()
            worker = await self._run(worker_id, post.found, task_status)
            post.found = None
            if post.given_up.is_set():
                return
            if worker_id not in self._workers:
                raise OperatorError(f"worker {worker_id} has ended before it began: see its messages")
            if not self._program.worker_automatic_restart:
                self._leave(worker)
                return
            if trio.current_time() - began >= HEALTHY_AFTER:
                pause = 0.0
            log.error("worker %d (pid %d) is replaced in %g s", worker_id, worker.pid, pause)
            self._on_move()
            with trio.move_on_after(pause):
                await post.given_up.wait()
            pause = min(max(FIRST_PAUSE, 2 * pause), LONGEST_PAUSE)

    def _leave(self, worker: WorkerHandle) -> None:
        """Go on without it. Raises OperatorError where it was the last one."""
        log.error("worker %d (pid %d) is not replaced: worker_automatic_restart is off", worker.worker_id, worker.pid)
        if not self.living:
            raise OperatorError("no worker is left, and worker_automatic_restart is off")
        self._on_move()

    async def _run(self, worker_id: int, found: Found | None, task_status: trio.TaskStatus[None]) -> WorkerHandle:
        """One worker, from its start to its end."""
        ours, run = self._spawning(worker_id) if found is None else (found.channel, found.stay)
        async with trio.open_nursery() as spawning:
            spawned: Spawned = await spawning.start(run, name=f"worker {worker_id}")
            patience = self._program.worker_timeout or math.inf
            worker = WorkerHandle(worker_id, spawned.pid, ours, self._on_lines, self._on_event, patience=patience)
            if found is not None:
                worker.listening, worker.generation = set(found.listening), found.generation
            # It ends by itself after its last word; whoever says none is of no use any more.
            said_all = await self._hear(worker, spawned, found, task_status)
            if found is not None:
                found.given_up = True
            spawning.cancel_scope.deadline = trio.current_time() + (GOODBYE if said_all else 0)
        return worker

    def _spawning(self, worker_id: int) -> tuple[Channel[Report], Callable[..., Awaitable[None]]]:
        """Main's end of a new worker's channel, and what runs that worker."""
        ours, theirs = channel_pair()
        return ours, partial(self._spawn, worker_id, theirs)

    async def _hear(
        self, worker: WorkerHandle, spawned: Spawned, found: Found | None, task_status: trio.TaskStatus[None]
    ) -> bool:
        """Have a worker begin and take what it says; whether it has said its last word."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._begin, worker, found is not None, task_status)
                if spawned.where is not None and worker.patience < math.inf:
                    nursery.start_soon(self._watch, worker, spawned.where)
                await worker.run()
                nursery.cancel_scope.cancel(reason="it has said its last word")
        except* ChannelError as lost:
            log.error("%s", lost.exceptions[0])
        return worker.stopped is not None

    async def _watch(self, worker: WorkerHandle, where: Callable[[], Awaitable[str]]) -> None:
        """Raises ChannelError when it leaves a question unanswered for too long."""
        while True:
            await trio.sleep(worker.patience / 2)
            try:
                await worker.ask_in_time(Beat)
            except WorkerSilent as silent:
                raise ChannelError(f"{silent}: it is killed. {await where()}") from silent

    async def _begin(self, worker: WorkerHandle, begun: bool, task_status: trio.TaskStatus[None]) -> None:
        try:
            if not begun:
                await worker.ask_in_time(partial(Begin, worker_id=worker.worker_id, program=self._program))
        except WorkerRefused as refused:
            raise ChannelError(str(refused)) from refused
        known = self._workers.get(worker.worker_id)
        self._workers[worker.worker_id] = worker
        if known is None:
            task_status.started()
        else:
            self._past.add(known.counters)
            self._on_move()

    async def ask(
        self, ask: Callable[[WorkerHandle], Awaitable[object]], workers: Iterable[WorkerHandle] | None = None
    ) -> dict[int, WorkerRefused]:
        """`await ask(worker)` for all (None = every living one) at once; returns who refused, by worker id.

        One that has died meanwhile has not refused: the next one in its place begins anew.
        """
        refusals: dict[int, WorkerRefused] = {}

        async def ask_one(worker: WorkerHandle) -> None:
            try:
                await ask(worker)
            except WorkerRefused as refused:
                if not worker.over:
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
        total.add(self._past)
        for worker in self._workers.values():
            total.add(worker.counters)
        return total

    def left(self, generation: int) -> tuple[list[WorkerLeft], Counters]:
        """The living, and what the others have counted, for the next image of main. `generation`: that in force."""
        past, left = Counters(), []
        past.add(self._past)
        for worker in self.workers:
            if worker.over:
                past.add(worker.counters)
                continue
            confirmed = generation if worker.generation == generation and not worker.uncut else None
            numbers = worker.counters.numbers()
            left.append(WorkerLeft(pid=worker.pid, generation=confirmed, channel=worker.descriptor, counters=numbers))
        return left, past

    def go_on_with(self, past: Counters) -> None:
        """What workers of the image before have counted that are no more."""
        self._past.add(past)

    def free_ids(self, many: int) -> list[int]:
        """The lowest ids that nobody has, not even one that still drains."""
        return list(itertools.islice((each for each in itertools.count() if not self._is_taken(each)), many))

    def _is_taken(self, worker_id: int) -> bool:
        return worker_id in self._workers or worker_id in self._posts

    async def dismiss(self, worker_ids: Collection[int], grace: float | None) -> None:
        """Have these end as `stop` has all, and nobody follow them; returns once they accept no more.

        One that cannot be told is killed, and one that is about to begin does not.
        """
        for worker_id in worker_ids:
            worker = self._workers.get(worker_id)
            if worker is None or worker.over:
                self.discharge([worker_id])
                continue
            self._posts[worker_id].dismiss()
            worker.stopping = True
            worker.listening.clear()
        leaving = [worker for worker in self.living if worker.worker_id in worker_ids]
        refusals = await self.ask(lambda worker: worker.ask_in_time(partial(Stop, grace=grace)), leaving)
        for refused in refusals.values():
            log.error("%s: it is killed", refused)
        self.discharge(refusals)

    def discharge(self, worker_ids: Iterable[int]) -> None:
        """Kill these, and have nobody follow them."""
        for worker_id in worker_ids:
            post = self._posts.get(worker_id)
            if post is None:
                self._part_with(worker_id)
            else:
                post.dismiss()
                post.scope.cancel(reason="it is not wanted any more")

    def _part_with(self, worker_id: int) -> None:
        """Remember what it has counted, and nothing else."""
        worker = self._workers.pop(worker_id, None)
        if worker is not None:
            self._past.add(worker.counters)
            cut = worker.stopped.cut if worker.stopped else 0
            log.info("worker %d (pid %d) has left: %s cut", worker_id, worker.pid, count(cut, "session"))

    async def stop(self, grace: float | None) -> None:
        """Tell every worker to stop; may be called again with less patience. Raises WorkerRefused."""
        self._stopping.set()
        for post in self._posts.values():
            post.give_up(grace)
        for worker in self.living:
            worker.stopping = True
            worker.listening.clear()
        for refused in (await self.ask(lambda worker: worker.ask(partial(Stop, grace=grace)))).values():
            raise refused
