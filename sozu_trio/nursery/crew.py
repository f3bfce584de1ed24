"""All workers of a main: started, replaced when they die, asked at once, added up, stopped."""

import itertools
import logging
from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import Any

import trio

from sozu_trio.config.program import Program
from sozu_trio.control.messages import Happened, Lines, Logged, Stop
from sozu_trio.errors import OperatorError
from sozu_trio.nursery.asking import ask_all
from sozu_trio.nursery.post import Found, Post, Spawn, why_not_begun
from sozu_trio.nursery.tenure import Tenure
from sozu_trio.nursery.workers import WorkerHandle
from sozu_trio.telemetry.counters import Counters
from sozu_trio.telemetry.plural import count

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.1, 10.0
"""Seconds before a worker is started anew that died soon after its start; doubled each time."""
HEALTHY_AFTER = 10.0
"""Seconds a worker lives before its death counts as the first one again: it is replaced at once."""


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
        self._on_move = on_move
        self._tenure = Tenure(program, spawn, on_lines, on_event, on_move)
        self._workers: dict[int, WorkerHandle] = {}
        self._posts: dict[int, Post] = {}
        self._trials: dict[int, Post] = {}
        """Of those that are to take the place of a worker which serves."""
        self._leaving: dict[Post, WorkerHandle] = {}
        """Those that have handed over to a successor."""
        self._parted = trio.Event()
        """One of them has ended."""
        self.past = Counters()
        """What those have counted that are no more."""
        self._stopping = trio.Event()

    @property
    def workers(self) -> list[WorkerHandle]:
        """By id; the latest one of each."""
        return [self._workers[worker_id] for worker_id in sorted(self._workers)]

    @property
    def serving(self) -> list[WorkerHandle]:
        """Those that live and are in their place, by id."""
        return [worker for worker in self.workers if not worker.over]

    @property
    def leaving(self) -> list[WorkerHandle]:
        """Those that live and only drain, because a successor of the same id serves, by id."""
        return sorted((each for each in self._leaving.values() if not each.over), key=lambda each: each.worker_id)

    @property
    def counted(self) -> list[WorkerHandle]:
        """All whose counters are not in `past` yet, those among them that have ended."""
        return [*self.workers, *self._leaving.values()]

    @property
    def living(self) -> list[WorkerHandle]:
        """Those that leave are the last."""
        return [*self.serving, *self.leaving]

    @property
    def pids(self) -> set[int]:
        """Processes that run, those that have not begun yet among them."""
        posts = (*self._posts.values(), *self._trials.values(), *self._leaving)
        return {post.pid for post in posts if post.pid is not None}

    def count_with(self, orphans: Collection[Found]) -> None:
        """Have all workers make the keys of what they count as those do that were found, before any of these is kept.
        They are of one mind, or it does not matter which of them: one is out to miscount.
        """
        for orphan in orphans:
            self._tenure.regions.keep_secret(orphan.secret)
            break

    async def keep(
        self,
        worker_id: int,
        found: Found | None = None,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Run a worker, and another one whenever it dies, until they have been told to stop.

        `found` is the first one, which runs already. Raises OperatorError when the first one cannot be started, or dies
        before it has begun.
        """
        post = self._posts[worker_id] = Post(found)
        if self._stopping.is_set():
            post.given_up.set()
        await self._stay(worker_id, post, task_status)

    async def try_out(
        self, worker_id: int, patience: float, *, task_status: trio.TaskStatus[WorkerHandle] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run a worker beside the one of that id; nobody follows it until it is promoted, and then as with `keep`.

        It gets `patience` seconds for each answer until then. Raises OperatorError when it dies before it has begun.
        """
        post = self._trials[worker_id] = Post(on_trial=True, patience=patience)
        await self._stay(worker_id, post, task_status)
        if post.worker is None:
            why = "the proxy is stopping" if self._stopping.is_set() else post.failure
            raise OperatorError(f"the successor of worker {worker_id} does not begin: {why}")

    async def see_out(self, found: Found, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Run a worker that has handed over already, to its end."""
        post = Post(found, leaves=True)
        await self._stay(found.worker_id, post, task_status)

    async def _stay(self, worker_id: int, post: Post, task_status: trio.TaskStatus[Any]) -> None:
        try:
            with post.scope:
                await self._keep(worker_id, post, task_status)
        finally:
            for posts in (self._posts, self._trials):
                if posts.get(worker_id) is post:
                    del posts[worker_id]
            if post.leaves:
                self._see_off(post)
            elif post.dismissed and not post.on_trial:
                self._part_with(worker_id)
            elif post.scope.cancelled_caught and not post.dismissed:
                log.error("worker %d has not ended in time: it is killed", worker_id)

    async def _keep(self, worker_id: int, post: Post, task_status: trio.TaskStatus[Any]) -> None:
        pause = 0.0
        while not post.given_up.is_set():
            began = trio.current_time()
            ended = await self._tenure.run(worker_id, post, lambda worker: self._begun(worker, post, task_status))
            post.found = None
            if post.is_last:
                return
            if post.worker is None:
                raise OperatorError(f"worker {worker_id} {why_not_begun(ended)}")
            if isinstance(ended, WorkerHandle) and not self._program.worker_automatic_restart:
                self._leave(ended)
                return
            if trio.current_time() - began >= HEALTHY_AFTER:
                pause = 0.0
            self._tell_of(ended, worker_id, pause)
            with trio.move_on_after(pause):
                await post.given_up.wait()
            pause = min(max(FIRST_PAUSE, 2 * pause), LONGEST_PAUSE)

    def promote(self, successor: WorkerHandle) -> WorkerHandle | None:
        """Have `successor`, which was on trial, take the place of the worker of its id. Returns that one, to be told to
        hand over, or None where it is dead.
        """
        worker_id = successor.worker_id
        post = self._trials.pop(worker_id)
        post.on_trial, post.patience = False, None
        before, known = self._posts.get(worker_id), self._workers.get(worker_id)
        self._posts[worker_id], self._workers[worker_id] = post, successor
        if before is not None and known is not None and not known.over:
            before.leaves = known.leaving = True
            self._leaving[before] = known
            return known
        if before is not None:
            # It waits to be replaced, or its replacement is about to begin.
            before.leaves = True
            before.discharge()
        if known is not None:
            self.past.add(known.counters)
        return None

    def is_kept(self, worker_id: int) -> bool:
        """Whether there is a worker of that id, or will be."""
        return worker_id in self._posts

    def is_leaving(self, worker_id: int) -> bool:
        """Whether somebody of that id leaves."""
        return worker_id in (worker.worker_id for worker in self.leaving)

    async def until_left(self, worker_id: int) -> None:
        """Wait until nobody of that id leaves any more."""
        while self.is_leaving(worker_id):
            await self._parted.wait()

    def _tell_of(self, ended: WorkerHandle | OSError, worker_id: int, pause: float) -> None:
        """There is to be another one of that id in `pause` seconds."""
        when = f"in {pause:g} s" if pause else "now"
        if isinstance(ended, OSError):
            log.error("worker %d cannot be started: %s; tried again %s", worker_id, ended, when)
        else:
            log.error("worker %d (pid %d) is replaced %s", worker_id, ended.pid, when)
            self._on_move()

    def _leave(self, worker: WorkerHandle) -> None:
        """Go on without it. Raises OperatorError where it was the last one."""
        log.error("worker %d (pid %d) is not replaced: worker_automatic_restart is off", worker.worker_id, worker.pid)
        if not self.living:
            raise OperatorError("no worker is left, and worker_automatic_restart is off")
        self._on_move()

    def _begun(self, worker: WorkerHandle, post: Post, task_status: trio.TaskStatus[Any]) -> None:
        """A worker is ready for work."""
        if post.on_trial:
            task_status.started(worker)
        elif post.leaves:
            self._remember_leaving(worker, post)
            task_status.started()
        else:
            self._take_place(worker, task_status)

    def _remember_leaving(self, worker: WorkerHandle, post: Post) -> None:
        """It has been told by a main before whom to hand over to, and has looked at what it has."""
        worker.leaving = True
        serving = self._posts.get(worker.worker_id)
        # One that main has started knows nothing of it.
        worker.successor = serving.worker if serving is not None and serving.found is not None else None
        if post.found is not None and post.found.seconds_left is not None:
            worker.leaves_at = trio.current_time() + post.found.seconds_left
        worker.has_looked.set()
        self._leaving[post] = worker

    def _take_place(self, worker: WorkerHandle, task_status: trio.TaskStatus[None]) -> None:
        known = self._workers.get(worker.worker_id)
        self._workers[worker.worker_id] = worker
        if known is None:
            task_status.started()
        else:
            self.past.add(known.counters)
            self._on_move()

    def close(self) -> None:
        """Let go of what workers count in; those that serve on have it, too."""
        self._tenure.regions.close()

    def counters(self) -> Counters:
        """The sum over all workers, of those that have ended what they said last."""
        total = Counters()
        for counters in (self.past, *(worker.counters for worker in self.counted)):
            total.add(counters)
        return total

    def free_ids(self, many: int) -> list[int]:
        """The lowest ids that nobody has, not even one that stops."""
        taken = self._workers.keys() | self._posts.keys()
        return list(itertools.islice((each for each in itertools.count() if each not in taken), many))

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
        leaving = [worker for worker in self.serving if worker.worker_id in worker_ids]
        refusals = await ask_all(leaving, lambda worker: worker.ask_in_time(partial(Stop, grace=grace)))
        for refused in refusals.values():
            log.error("%s: it is killed", refused)
        self.discharge(who.worker_id for who in refusals)

    def discharge(self, worker_ids: Iterable[int]) -> None:
        """Kill these, and have nobody follow them."""
        for worker_id in worker_ids:
            if (post := self._posts.get(worker_id)) is None:
                self._part_with(worker_id)
            else:
                post.discharge()

    def reject(self, successor: WorkerHandle) -> bool:
        """Part with one that is on trial, if it still is: kill it. Where it may have let clients in it leaves instead;
        then True, and it is to be told.
        """
        post = self._trials.get(successor.worker_id)
        if post is None or post.worker is not successor:
            return False
        if not successor.listening:
            log.warning("worker %d (pid %d) is not to serve: it is killed", successor.worker_id, successor.pid)
            post.discharge()
            return False
        self._have_leave(post, successor)
        return True

    def _have_leave(self, post: Post, worker: WorkerHandle) -> None:
        """Of one on trial that may have let clients in."""
        del self._trials[worker.worker_id]
        post.leaves = worker.leaving = True
        worker.has_looked.set()
        self._leaving[post] = worker

    def _part_with(self, worker_id: int) -> None:
        """Remember what it has counted, and nothing else."""
        if (worker := self._workers.pop(worker_id, None)) is not None:
            self.past.add(worker.counters)
            log.info("worker %d (pid %d) has left: %s cut", worker_id, worker.pid, count(worker.cut, "session"))

    def _see_off(self, post: Post) -> None:
        """As `_part_with`; a stop counts those whom it has cut."""
        if post in self._leaving and not self._stopping.is_set():
            worker = self._leaving.pop(post)
            self.past.add(worker.counters)
            cut = count(worker.cut, "session")
            log.info("worker %d (pid %d), which had a successor, has left: %s cut", *worker.who[1:], cut)
        self._parted.set()
        self._parted = trio.Event()

    async def stop(self, grace: float | None) -> None:
        """Tell every worker to stop; may be called again with less patience. Raises WorkerRefused."""
        self._stopping.set()
        for post in (*self._posts.values(), *self._trials.values(), *self._leaving):
            post.give_up(grace)
        for post in [self._posts[worker_id] for worker_id in self._workers if worker_id in self._posts]:
            if post.worker is None or post.worker.over:
                # It waits to be replaced, or its replacement is about to begin, which nobody could tell to stop.
                post.discharge()
        for post in list(self._trials.values()):
            if post.worker is None:
                post.discharge()
            else:
                self._have_leave(post, post.worker)
        stopping = self.living
        for worker in stopping:
            worker.stopping = True
            worker.listening.clear()
        for refused in (await ask_all(stopping, lambda worker: worker.ask(partial(Stop, grace=grace)))).values():
            raise refused
