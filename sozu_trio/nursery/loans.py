"""Listening sockets of a worker that is not there, lent to one that is.

Connections wait in the queue of the worker they were hashed to, also while that is dead: half of all new clients, where
there are two workers. Main has its own descriptor of each such socket, so a sibling serves them at once, and gives the
socket back when the successor accepts on it.
"""

import logging
from collections.abc import Collection, Iterable
from functools import partial

import trio

from sozu_trio.control.messages import GiveBack, Lend
from sozu_trio.nursery.crew import Crew
from sozu_trio.nursery.sockets import ListeningSockets
from sozu_trio.nursery.workers import WorkerHandle, WorkerRefused
from sozu_trio.routing.state import ListenerKey

log = logging.getLogger(__name__)


class Loans:
    """Which sockets are lent to whom."""

    def __init__(self, crew: Crew, sockets: ListeningSockets) -> None:
        self._crew = crew
        self._sockets = sockets
        self._lent: dict[tuple[int, ListenerKey], WorkerHandle] = {}
        self._settling = trio.Lock()

    async def settle(self) -> None:
        """Lend what nobody accepts on, and have given back what its own worker accepts on again."""
        async with self._settling:
            self._sockets.revive()
            self._forget()
            for (owner, key), borrower in list(self._lent.items()):
                if key in self._listening.get(owner, ()):
                    await self._give_back(owner, key, borrower)
            for owner, key in self._lonely():
                await self._lend(owner, key)

    def remember(self, lent: Iterable[tuple[int, ListenerKey]], borrower: WorkerHandle) -> None:
        """A main before has lent it these."""
        self._lent |= dict.fromkeys(lent, borrower)

    async def retire(self, owners: Collection[int]) -> None:
        """Have given back what is lent of `owners`, who are no more, and close it for good."""
        async with self._settling:
            self._forget()
            for (owner, key), borrower in list(self._lent.items()):
                if owner in owners:
                    await self._give_back(owner, key, borrower)
            self._sockets.retire(owners)

    def _forget(self) -> None:
        """Loans to workers that are gone themselves, or have handed over, and of sockets that are no more."""
        self._lent = {
            (owner, key): borrower
            for (owner, key), borrower in self._lent.items()
            if not borrower.over and not borrower.leaving and key in self._sockets.of.get(owner, ())
        }

    @property
    def _listening(self) -> dict[int, set[ListenerKey]]:
        """Where each worker accepts that is to, by id."""
        return {worker.worker_id: worker.listening for worker in self._crew.serving}

    def _lonely(self) -> Iterable[tuple[int, ListenerKey]]:
        listening = self._listening
        for owner, sockets in list(self._sockets.of.items()):
            for key in sorted(sockets):
                if key not in listening.get(owner, ()) and (owner, key) not in self._lent:
                    yield owner, key

    async def _lend(self, owner: int, key: ListenerKey) -> None:
        candidates = [worker for worker in self._crew.serving if key in worker.listening and not worker.stopping]
        sock = self._sockets.of.get(owner, {}).get(key)
        if not candidates or sock is None:
            return
        borrower = min(candidates, key=lambda worker: worker.counters.sessions)
        transport, address = key
        try:
            await borrower.ask_in_time(partial(Lend, owner=owner, transport=transport, address=address), [sock])
        except WorkerRefused as refused:
            log.warning("%s", refused)
        else:
            self._lent[owner, key] = borrower

    async def _give_back(self, owner: int, key: ListenerKey, borrower: WorkerHandle) -> None:
        transport, address = key
        try:
            await borrower.ask_in_time(partial(GiveBack, owner=owner, transport=transport, address=address))
        except WorkerRefused as refused:
            # Both accept then, which loses nothing; the next one to settle asks again.
            log.warning("%s", refused)
        else:
            del self._lent[owner, key]
