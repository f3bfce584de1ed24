"""A worker's successor: it begins beside the worker, with the same id, and accepts on the same sockets; only then the
worker before accepts no more, and hands over what it has.

Until the successor is promoted nothing has changed for anybody: whatever is wrong with it, it is killed.
"""

import logging
import math
import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from sozu_trio.config.program import Program
from sozu_trio.control.answering import Progress
from sozu_trio.control.messages import HandOver, Stop, TakeOver
from sozu_trio.errors import OperatorError
from sozu_trio.nursery.asking import ask_all
from sozu_trio.nursery.crew import Crew
from sozu_trio.nursery.loans import Loans
from sozu_trio.nursery.sockets import ListeningSockets
from sozu_trio.nursery.transaction import Following, Target, prepare
from sozu_trio.nursery.workers import WorkerHandle, WorkerRefused, WorkerSilent
from sozu_trio.routing.drains import grace_of
from sozu_trio.telemetry.plural import count

log = logging.getLogger(__name__)

TRIAL: Final = 10.0
"""Seconds a successor gets for each answer where `worker_timeout` sets no limit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Succeeded:
    """A worker has been replaced by its successor."""

    worker_id: int
    before: int | None
    """The process that served; None where it was dead."""
    after: int
    """The process that serves now."""
    moved: int
    """Sessions that went over to it at once."""
    left: int
    """Those that could not, yet: they drain."""


class Succession:
    """Replaces workers, one at a time."""

    def __init__(
        self,
        program: Program,
        crew: Crew,
        sockets: ListeningSockets,
        loans: Loans,
        refuse_while_stopping: Callable[[], None],
    ) -> None:
        """`refuse_while_stopping` raises OperatorError once nobody is to listen any more."""
        self.start: Callable[[int, float], Awaitable[WorkerHandle]]
        """Has the crew try a worker out; set once there is somewhere for it to live."""
        self._program = program
        self._crew = crew
        self._sockets = sockets
        self._loans = loans
        self._refuse_while_stopping = refuse_while_stopping

    async def until_left(self, worker_id: int, tell: Progress) -> None:
        """Wait until nobody of that id drains any more; `tell` hears of who does."""
        for worker in self._crew.leaving:
            if worker.worker_id == worker_id:
                sessions = count(worker.counters.sessions, "session")
                await tell(f"worker {worker_id}: waiting for {sessions} of the one before (pid {worker.pid})", {})
                await self._crew.until_left(worker_id)

    async def begin(self, worker_id: int) -> WorkerHandle:
        """Start a successor. Raises OperatorError when it does not begin."""
        self._refuse_unknown(worker_id)
        return await self.start(worker_id, self._program.worker_timeout or TRIAL)

    def _refuse_unknown(self, worker_id: int) -> None:
        self._refuse_while_stopping()
        if worker_id not in self._sockets.of:
            ids = ", ".join(map(str, sorted(self._sockets.of)))
            raise OperatorError(f"worker: there is none with the id {worker_id}; there are {ids}")

    async def take_place(self, successor: WorkerHandle, target: Target) -> WorkerHandle | None:
        """Have `successor` serve by `target`, which is in force, in place of the worker of its id, which is returned if
        it lives and has been told to hand over.

        Raises OperatorError when the successor cannot; it is killed, and nothing has changed then.
        """
        try:
            await self._have_ready(successor, target)
        except BaseException:
            self._crew.reject(successor)
            raise
        before = self._crew.promote(successor)
        log.info("worker %d: pid %d serves in place of the one before", successor.worker_id, successor.pid)
        with trio.CancelScope(shield=True):
            # Whom the one before was lent sockets for must not wait.
            await self._loans.settle()
            if before is not None:
                await self._hand_over(before, successor, grace_of(self._program.upgrade_drain_timeout))
        return before

    async def _have_ready(self, successor: WorkerHandle, target: Target) -> None:
        worker_id = successor.worker_id
        self._refuse_unknown(worker_id)
        refusals = list((await ask_all([successor], partial(prepare, target=target))).values())
        if not refusals and not successor.over:
            following = Following(successor, target, self._sockets.of[worker_id])
            await following.run()
            refusals = following.failures
        self._refuse_while_stopping()
        if successor.over:
            raise OperatorError(
                f"the successor of worker {worker_id} (pid {successor.pid}) has died before it was ready: see the log"
            )
        for refused in refusals:
            raise OperatorError(f"the successor of worker {worker_id} does not get ready: {refused}") from refused

    async def hand_over_again(self) -> None:
        """Have those that leave hand over to whoever serves now in place of their successor, which has died."""
        serving = {worker.worker_id: worker for worker in self._crew.workers if not worker.over}
        for worker in self._crew.leaving:
            successor = serving.get(worker.worker_id)
            if successor is None or worker.successor is successor or worker.over or worker.stopping:
                continue
            left = worker.leaves_at - trio.current_time()
            await self._hand_over(worker, successor, None if left == math.inf else max(0.0, left))

    async def _hand_over(self, before: WorkerHandle, successor: WorkerHandle, grace: float | None) -> None:
        before.successor = successor
        before.leaves_at = math.inf if grace is None else trio.current_time() + grace
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            try:
                await successor.ask_in_time(TakeOver, [theirs])
            except WorkerRefused as refused:
                log.warning("%s: what worker %d has only drains", refused, before.worker_id)
            theirs.close()
            try:
                await before.ask_in_time(partial(HandOver, grace=grace), [ours])
            except WorkerSilent as silent:
                log.warning("%s", silent)
            except WorkerRefused as refused:
                log.warning("%s: it only drains", refused)
                await self._have_end(before, grace)

    async def _have_end(self, before: WorkerHandle, grace: float | None) -> None:
        try:
            await before.ask_in_time(partial(Stop, grace=grace))
        except WorkerRefused as refused:
            log.error("%s", refused)

    async def result(self, before: WorkerHandle | None, successor: WorkerHandle) -> Succeeded:
        """Wait until the one before has looked once at all it has, or is gone."""
        moved = left = 0
        if before is not None:
            await before.has_looked.wait()
            if before.handed_over is not None:
                moved, left = before.handed_over.moved, before.handed_over.left
        return Succeeded(
            worker_id=successor.worker_id,
            before=None if before is None else before.pid,
            after=successor.pid,
            moved=moved,
            left=left,
        )
