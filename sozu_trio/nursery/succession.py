"""A worker's successor: it begins beside the worker, with the same id, and accepts on the same sockets; only then the
worker before accepts no more, and hands over what it has.

Until the successor is promoted nothing has changed for anybody: whatever is wrong with it, it is killed.
"""

import logging
import math
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
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
from sozu_trio.nursery.workers import WorkerHandle, WorkerRefused
from sozu_trio.routing.drains import grace_of
from sozu_trio.telemetry.plural import count

log = logging.getLogger(__name__)

TRIAL: Final = 10.0
"""Seconds a successor gets for each answer where `worker_timeout` sets no limit."""


AGAIN: Final = 1.0
"""Seconds between two tries to have a worker hand over."""

_Ends = tuple[socket.socket, socket.socket]


def _socketpair() -> _Ends:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


@contextmanager
def _channel_ends() -> Iterator[_Ends]:
    """Both ends of a channel between two workers. Raises OperatorError."""
    try:
        ends = _socketpair()
    except OSError as error:
        raise OperatorError(f"nothing can be handed over: {error.strerror}") from error
    with ends[0], ends[1]:
        yield ends


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


class Successors:
    """Replaces workers by their successors, one at a time."""

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

    async def replace(
        self, worker_id: int, tell: Progress, changing: trio.Lock, present: Callable[[], Target]
    ) -> tuple[WorkerHandle | None, WorkerHandle]:
        """Start a successor and have it serve by `present()`, what is in force while `changing` is held. Returns the
        worker before, if it lives and has been told to hand over, and its successor.

        Raises OperatorError when the successor does not begin or does not get ready; nothing has changed then.
        """
        self._refuse_unknown(worker_id)
        successor = await self.start(worker_id, self._program.worker_timeout or TRIAL)
        try:
            await tell(f"worker {worker_id}: its successor has begun (pid {successor.pid})", {})
            async with changing:
                return await self._take_place(successor, present()), successor
        except BaseException:
            await self._reject(successor)
            raise

    def _refuse_unknown(self, worker_id: int) -> None:
        self._refuse_while_stopping()
        if worker_id not in self._sockets.of:
            ids = ", ".join(map(str, sorted(self._sockets.of)))
            raise OperatorError(f"worker: there is none with the id {worker_id}; there are {ids}")

    async def _take_place(self, successor: WorkerHandle, target: Target) -> WorkerHandle | None:
        await self._have_ready(successor, target)
        with _channel_ends() as ends:
            before = self._crew.promote(successor)
            log.info("worker %d: pid %d serves in place of the one before", successor.worker_id, successor.pid)
            with trio.CancelScope(shield=True):
                # Whom the one before was lent sockets for must not wait.
                await self._loans.settle()
                if before is not None:
                    before.leave(grace_of(self._program.upgrade_drain_timeout))
                    await self._hand_over(before, successor, ends)
        successor.patience = self._program.worker_timeout or math.inf
        return before

    async def _reject(self, successor: WorkerHandle) -> None:
        """Part with one that has not taken its place, if that is so: kill it, or, where it may have let clients in,
        have it end as one that leaves.
        """
        if not self._crew.reject(successor) or successor.stopping:
            return
        with trio.CancelScope(shield=True):
            grace = grace_of(self._program.upgrade_drain_timeout)
            successor.leave(grace)
            await self._have_end(successor, grace)

    async def _have_ready(self, successor: WorkerHandle, target: Target) -> None:
        worker_id = successor.worker_id
        self._refuse_unknown(worker_id)
        refusals = list((await ask_all([successor], partial(prepare, target=target))).values())
        if not refusals and not successor.over:
            self._sockets.revive()
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

    async def hand_over_again(self) -> str:
        """Have those that leave hand over to whoever serves now, where their successor has died or they could not yet.

        Returns who still cannot.
        """
        serving = {worker.worker_id: worker for worker in self._crew.serving if not worker.stopping}
        failures = []
        for worker in self._crew.leaving:
            successor = serving.get(worker.worker_id)
            if successor is None or not worker.may_hand_over(successor):
                continue
            if trio.current_time() < worker.told_at + AGAIN:
                failures.append(f"worker {worker.worker_id} (pid {worker.pid}) has yet to hand over")
                continue
            try:
                with _channel_ends() as ends:
                    failures += await self._hand_over(worker, successor, ends)
            except OperatorError as error:
                failures.append(str(error))
        return "; ".join(failures)

    async def _hand_over(self, before: WorkerHandle, successor: WorkerHandle, ends: "_Ends") -> list[str]:
        """Returns why it could not be told, if it could not."""
        theirs, ours = ends
        before.told_at = trio.current_time()
        try:
            await successor.ask_in_time(TakeOver, [theirs])
        except WorkerRefused as refused:
            log.warning("%s: what worker %d has only drains", refused, before.worker_id)
        theirs.close()
        grace = None if before.leaves_at == math.inf else max(0.0, before.leaves_at - trio.current_time())
        try:
            await before.ask_in_time(partial(HandOver, grace=grace), [ours])
        except WorkerRefused as refused:
            return [str(refused)]
        before.successor, before.stranded = successor, False
        return []

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
