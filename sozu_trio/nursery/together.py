"""One step of a change (`nursery/transaction.py`) for all workers at once: they decide it together, and follow it.

Those that leave, because they have a successor, follow as well: the sessions they still have are to be served by what
is in force.
"""

import socket
from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial

import trio

from sozu_trio.config.limits import GOODBYE
from sozu_trio.nursery.asking import ask_all
from sozu_trio.nursery.crew import Crew
from sozu_trio.nursery.sockets import ListeningSockets
from sozu_trio.nursery.transaction import Following, Target, forget, prepare
from sozu_trio.nursery.workers import WorkerHandle, WorkerRefused
from sozu_trio.routing.state import ListenerKey

Journal = Callable[[], Awaitable[None]]
"""Writes the change down; where it returns the change is decided, where it raises nothing has happened."""


class Together:
    """All workers of a crew, and the sockets they are to accept on."""

    def __init__(self, crew: Crew, sockets: ListeningSockets, refuse_while_stopping: Callable[[], None]) -> None:
        """`refuse_while_stopping` raises OperatorError once nobody is to listen any more."""
        self._crew = crew
        self._sockets = sockets
        self._refuse_while_stopping = refuse_while_stopping

    async def decide(self, target: Target, journal: Journal | None) -> None:
        """Have every worker prepare and write the change down. Where either fails, workers are as before.

        Raises WorkerRefused when one cannot prepare, OperatorError when the proxy is stopping, and whatever `journal`
        raises.
        """
        try:
            await self._prepare(target)
            self._refuse_while_stopping()
            if journal is not None:
                # Once it is being written, whoever asked may go away: what is in the journal happens.
                with trio.CancelScope(shield=True):
                    await journal()
        except BaseException:
            with trio.move_on_after(GOODBYE, shield=True):
                await ask_all(self._crew.living, forget)
            raise

    async def _prepare(self, target: Target) -> None:
        refusals = await ask_all(self._crew.living, partial(prepare, target=target))
        if refusals:
            # A worker that stops refuses much, and has no better reason.
            self._refuse_while_stopping()
            raise WorkerRefused("; ".join(map(str, refusals.values())))

    async def follow(self, target: Target) -> list[Following]:
        """Have every worker follow that can; returns how that went for those that are still there.

        Whoever has died meanwhile is replaced; the next one begins with this generation, and on the same sockets. One
        that has begun meanwhile is not ready yet, and brought in step later.
        """
        self._sockets.revive()
        ready = [worker for worker in self._crew.living if target.generation in (worker.generation, worker.prepared)]
        followings = [Following(worker, target, self._wanted_of(worker)) for worker in ready]
        async with trio.open_nursery() as nursery:
            for following in followings:
                nursery.start_soon(following.run)
        return [following for following in followings if not following.worker.over]

    def settle(self, followings: list[Following]) -> str:
        """Close sockets that nobody accepts on; returns what is not confirmed, if anything."""
        serving = [following.worker for following in followings if not following.worker.leaving]
        self._sockets.settle((worker.worker_id, worker.listening) for worker in serving)
        return "; ".join(str(failure) for following in followings for failure in following.failures)

    def _wanted_of(self, worker: WorkerHandle) -> Mapping[ListenerKey, socket.socket]:
        """Where a worker is to accept; of one that leaves, the listeners whose sessions it is to keep."""
        sockets = self._sockets.of.get(worker.worker_id, {})
        return {key: sock for key, sock in sockets.items() if key in worker.listening} if worker.leaving else sockets

    def are_in_step(self, generation: int, wanted: Collection[ListenerKey]) -> bool:
        """Whether all that serve, and all that are about to, serve by `generation` and accept on `wanted`."""
        done = {
            worker.worker_id
            for worker in self._crew.serving
            if worker.generation == generation and worker.listening.issuperset(wanted)
        }
        return all(worker_id in done for worker_id in self._sockets.of if self._crew.is_kept(worker_id))

    async def catch_up(self, target: Target) -> str:
        """Have those prepare that are not at `target`, which is in force; returns who refuses."""
        behind = [worker for worker in self._crew.living if worker.generation != target.generation]
        return "; ".join(map(str, (await ask_all(behind, partial(prepare, target=target))).values()))
