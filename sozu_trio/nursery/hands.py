"""More workers, or fewer, while all of them serve.

A new one has no sockets until it serves by the generation in force, so that nobody waits for it longer than for the
others. One that leaves is no longer chosen for new connections (`nursery/steering.py`); it takes who is in its queues
and closes them; a sibling takes who was on the way (`nursery/loans.py`); when nobody has come for a while they are
closed for good. What it has begun it finishes, or is cut after the grace of a stop.
"""

import logging
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Final

import trio

from sozu_trio.errors import OperatorError
from sozu_trio.nursery.asking import ask_all
from sozu_trio.nursery.crew import Crew
from sozu_trio.nursery.loans import Loans
from sozu_trio.nursery.sockets import ListeningSockets
from sozu_trio.nursery.transaction import Following, Target, prepare
from sozu_trio.nursery.workers import WorkerHandle, WorkerRefused
from sozu_trio.routing.state import ListenerKey

log = logging.getLogger(__name__)

LOOK_AGAIN: Final = 0.1
"""Seconds between two looks into the queues of those who leave."""
QUIET_LOOKS: Final = 3
"""Looks in a row that find nobody: a handshake that was under way when connections were steered away has ended."""
LONGEST_DRAIN: Final = 10.0
"""Seconds until queues are closed with whoever is in them: nobody takes them out."""


class Hands:
    """Takes workers on, and dismisses them. One at a time."""

    def __init__(
        self, crew: Crew, sockets: ListeningSockets, loans: Loans, refuse_while_stopping: Callable[[], None]
    ) -> None:
        """`refuse_while_stopping` raises OperatorError once nobody is to listen any more."""
        self.start: Callable[[int], Awaitable[object]]
        """Has the crew keep a worker of that id; set once there is somewhere for it to live."""
        self._crew = crew
        self._sockets = sockets
        self._loans = loans
        self._refuse_while_stopping = refuse_while_stopping

    async def take_on(self, many: int, target: Target, wanted: Collection[ListenerKey]) -> None:
        """Have so many more accept on `wanted` by the generation of `target`, which is in force.

        Raises OperatorError when one cannot begin, or an address cannot be had once more; there is none of them then.
        """
        ids = self._crew.free_ids(many)
        try:
            workers = await self._begin(ids, target)
            self._refuse_while_stopping()
            self._sockets.of.update({worker_id: {} for worker_id in ids})
            opened = self._sockets.open(wanted)
        except BaseException as error:
            self._crew.discharge(ids)
            for worker_id in ids:
                self._sockets.of.pop(worker_id, None)
            if isinstance(error, Exception):
                self._refuse_while_stopping()
                raise OperatorError(f"no more workers can be had: {_reason(error)}") from error
            raise
        self._sockets.take_over(opened, wanted)
        with trio.CancelScope(shield=True):
            failures = await self._follow(workers, target)
        if failures:
            # Others are lent what it does not accept on, and it is brought in step as one that drifted.
            log.error("%s", failures[0])

    async def _begin(self, ids: Sequence[int], target: Target) -> list[WorkerHandle]:
        async with trio.open_nursery() as starting:
            for worker_id in ids:
                starting.start_soon(self.start, worker_id)
        workers = [worker for worker in self._crew.serving if worker.worker_id in ids]
        for refused in (await ask_all(workers, partial(prepare, target=target))).values():
            raise refused
        for failure in await self._follow(workers, target):
            raise failure
        return workers

    async def _follow(self, workers: Sequence[WorkerHandle], target: Target) -> list[WorkerRefused]:
        """Have them serve by `target` and accept on their sockets, if they have any; returns what they have not done.

        One that has died has failed in nothing: the next one in its place is brought in step.
        """
        followings = [Following(each, target, self._sockets.of.get(each.worker_id, {})) for each in workers]
        async with trio.open_nursery() as nursery:
            for following in followings:
                nursery.start_soon(following.run)
        return [failure for each in followings if not each.worker.over for failure in each.failures]

    async def dismiss(self, many: int, grace: float | None) -> None:
        """Have those with the highest ids leave; what they have begun may take `grace` seconds (None = for ever).

        Raises OperatorError when connections cannot be steered away from them; nothing has changed then. A caller that
        is cancelled meanwhile does not stop it half way.
        """
        ids = sorted(self._sockets.of)[-many:]
        self._sockets.steer_away(ids)
        with trio.CancelScope(shield=True):
            await self._crew.dismiss(ids, grace)
            await self._loans.settle()
            await self._until_quiet(ids)
            await self._loans.retire(ids)

    async def _until_quiet(self, ids: Sequence[int]) -> None:
        with trio.move_on_after(LONGEST_DRAIN) as drain:
            looks = 0
            while looks < QUIET_LOOKS:
                await trio.sleep(LOOK_AGAIN)
                looks = 0 if self._sockets.is_waited_in(ids) else looks + 1
        if drain.cancelled_caught:
            log.error("connections still wait for a worker that leaves: they are closed")


def _reason(error: BaseException) -> BaseException:
    """The first that is no group."""
    return _reason(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
