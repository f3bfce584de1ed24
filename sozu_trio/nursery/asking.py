"""The same question for many workers at once."""

import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any

import trio

from sozu_trio.control.messages import Kill, Look
from sozu_trio.nursery.workers import Who, WorkerHandle, WorkerRefused, WorkerSilent

log = logging.getLogger(__name__)


async def ask_all(
    workers: Iterable[WorkerHandle], ask: Callable[[WorkerHandle], Awaitable[object]]
) -> dict[Who, WorkerRefused]:
    """`await ask(worker)` for all of `workers` at once; returns who refused.

    One that has died meanwhile has not refused: the next one in its place begins anew.
    """
    refusals: dict[Who, WorkerRefused] = {}

    async def ask_one(worker: WorkerHandle) -> None:
        try:
            await ask(worker)
        except WorkerRefused as refused:
            if not worker.over:
                refusals[worker.who] = refused

    async with trio.open_nursery() as nursery:
        for worker in workers:
            nursery.start_soon(ask_one, worker)
    return refusals


async def look_at(workers: Iterable[WorkerHandle], what: str, query: Mapping[str, Any]) -> dict[Who, Any]:
    """What each of `workers` answers (`nursery/looks.py`); one that does not answer is left out.

    Raises WorkerRefused for what cannot be asked.
    """
    found: dict[Who, Any] = {}

    async def look(worker: WorkerHandle) -> None:
        found[worker.who] = await worker.ask_in_time(partial(Look, what=what, query=query))

    for refused in (await ask_all(workers, look)).values():
        if not isinstance(refused, WorkerSilent):
            raise refused
        log.warning("%s", refused)
    return dict(sorted(found.items()))


async def kill_session_of(workers: Collection[WorkerHandle], session: str) -> bool:
    """Cut one session; whether there was one of that name. Raises WorkerRefused when a worker cannot be asked and no
    other one had it.
    """
    # It may have moved between two workers while they were asked, from the one asked late to the one asked early.
    return await _kill_session_of(workers, session) or await _kill_session_of(workers, session)


async def _kill_session_of(workers: Iterable[WorkerHandle], session: str) -> bool:
    found = False

    async def kill(worker: WorkerHandle) -> None:
        nonlocal found
        found = await worker.ask_in_time(partial(Kill, session=session)) or found

    refusals = await ask_all(workers, kill)
    if refusals and not found:
        raise next(iter(refusals.values()))
    return found
