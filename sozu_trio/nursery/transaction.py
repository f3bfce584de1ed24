"""What main asks of one worker so that it serves by another generation.

Before the change is decided: Amend, in parts, and Prepare; the worker goes on as before. After that: Unlisten, Commit,
Listen, Cut. Who drains does so before the commit and who begins does so after it, so that no connection is let in for a
listener the Table does not have.

A worker is asked for what is different from the generation it has confirmed. One that is at another generation, or of
which it is not known, is told everything anew. So a worker that drifted, for whatever reason, is healed by the next
change at the latest.
"""

import itertools
import logging
import math
import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from sozu_trio.control.messages import Amend, Commit, Cut, Forget, Listen, Prepare, Unlisten
from sozu_trio.control.parts import cut
from sozu_trio.nursery.cuts import Removed, is_there
from sozu_trio.nursery.workers import MakeAsk, WorkerHandle, WorkerRefused, WorkerSilent
from sozu_trio.routing.delta import BackendName, Delta, diff
from sozu_trio.routing.drains import Drains
from sozu_trio.routing.state import EMPTY, ListenerKey, State

log = logging.getLogger(__name__)

RECORDS_PER_MESSAGE = 300
"""A worker reads so many in 4 ms, and they mostly stay below INLINE_SIZE."""
CERTIFICATES_PER_MESSAGE = 100
"""With chains of 10 kB main writes so many in 3 ms, for each of its workers before anybody else has a turn."""

_attempts = itertools.count(1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where workers are to go."""

    state: State
    """Without `declared`: workers need to know nothing of it."""
    generation: int
    base: int
    """The generation before."""
    delta: Delta
    """What is different from it."""
    drains: Drains = field(default_factory=Drains)
    cuts: Mapping[Removed, float] = field(default_factory=dict)
    """Backends that are gone, and how long they may serve on."""


def target_of(present: tuple[State, int], state: State, generation: int, delta: Delta | None, drains: Drains) -> Target:
    """`state` as `generation`, for workers that are at `present`. `delta` is the difference, where it is known."""
    # What the file declared is main's business: much to compare, to send and to keep.
    before, after = replace(present[0], declared=None), replace(state, declared=None)
    return Target(
        state=after,
        generation=generation,
        base=present[1],
        delta=diff(before, after) if delta is None else replace(delta, declared=None),
        drains=drains,
        cuts=removed_backends(before, after, drains),
    )


def removed_backends(before: State, after: State, drains: Drains) -> dict[Removed, float]:
    """Those of `drains` that are gone, or gone from their address, and are to be cut some time."""
    removed: dict[Removed, float] = {}
    named = itertools.chain(drains.backends.items(), _of_clusters(before, drains))
    for (cluster_id, backend_id), grace in named:
        old = before.backends.get(cluster_id, {}).get(backend_id)
        if grace is not None and old is not None:
            key = cluster_id, backend_id, old.address
            if not is_there(key, after):
                removed[key] = min(grace, removed.get(key, math.inf))
    return removed


def _of_clusters(before: State, drains: Drains) -> Iterator[tuple[BackendName, float | None]]:
    """Every backend of the clusters of `drains`, as if it had been named."""
    for cluster_id, grace in drains.clusters.items():
        for backend_id in before.backends.get(cluster_id, {}):
            yield (cluster_id, backend_id), grace


async def prepare(worker: WorkerHandle, target: Target) -> None:
    """Have the worker make the Table of `target`. Raises WorkerRefused; it goes on as before then."""
    attempt = await _amend(worker, target)
    await worker.ask_in_time(partial(Prepare, attempt=attempt, generation=target.generation))
    worker.prepared = target.generation


async def _amend(worker: WorkerHandle, target: Target) -> int:
    """Tell the worker what is different; returns the attempt it knows that by."""
    if worker.generation == target.base:
        try:
            return await _tell(worker, target.base, target.delta)
        except WorkerSilent:
            raise
        except WorkerRefused as refused:
            log.warning("%s: it is told everything anew", refused)
    return await _tell(worker, None, diff(EMPTY, target.state))


async def _tell(worker: WorkerHandle, base: int | None, delta: Delta) -> int:
    attempt = next(_attempts)
    for part in cut(delta, RECORDS_PER_MESSAGE, CERTIFICATES_PER_MESSAGE):
        await worker.ask_in_time(partial(Amend, attempt=attempt, base=base, delta=part))
    return attempt


async def forget(worker: WorkerHandle) -> None:
    """Have the worker drop what it has prepared, if it is there at all."""
    worker.prepared = None
    if worker.answering:
        await worker.ask(Forget)


class Following:
    """The second half of a change for one worker, which goes on whatever fails."""

    def __init__(self, worker: WorkerHandle, target: Target, sockets: Mapping[ListenerKey, socket.socket]) -> None:
        """`sockets`: where it is to listen in the end; a stop may take some of them away meanwhile."""
        self.failures: list[WorkerRefused] = []
        """What the worker has not done or not confirmed."""
        self.worker = worker
        self._target = target
        self._sockets = sockets

    async def run(self) -> None:
        """Have the worker serve by the generation it is prepared for, or by the one it is at, and listen where it
        should.
        """
        self.worker.uncut.update(self._target.cuts)
        await self._unlisten()
        if await self._commit():
            await self._listen()
            await self._cut()

    async def _unlisten(self) -> None:
        worker, graces = self.worker, self._target.drains.listeners
        # Those which nobody listens on any more may still drain, with more patience than there is now.
        sooner = {key for key, grace in graces.items() if grace is not None}
        for key in sorted((worker.listening | sooner) - self._sockets.keys()):
            transport, address = key
            if await self._ask(partial(Unlisten, transport=transport, address=address, grace=graces.get(key))):
                worker.listening.discard(key)

    async def _commit(self) -> bool:
        worker, generation = self.worker, self._target.generation
        if worker.generation != generation:
            done = await self._ask(partial(Commit, generation=generation))
            worker.generation, worker.prepared = generation if done else None, None
        return worker.generation == generation

    async def _listen(self) -> None:
        for key in sorted(self._sockets.keys() - self.worker.listening):
            transport, address = key
            sock = self._sockets.get(key)
            if sock is not None and await self._ask(partial(Listen, transport=transport, address=address), [sock]):
                self.worker.listening.add(key)

    async def _cut(self) -> None:
        uncut = self.worker.uncut
        for removed, grace in list(uncut.items()):
            cluster_id, backend_id, address = removed
            if is_there(removed, self._target.state) or await self._ask(
                partial(Cut, cluster_id=cluster_id, backend_id=backend_id, address=address, grace=grace),
            ):
                del uncut[removed]

    async def _ask(self, make: MakeAsk, sockets: Iterable[socket.socket] = ()) -> bool:
        try:
            await self.worker.ask_in_time(make, sockets)
        except WorkerRefused as refused:
            self.failures.append(refused)
            return False
        return True
