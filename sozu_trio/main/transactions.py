"""The one place where State changes: one transaction at a time, whoever asks for it.

    make the new State → every worker prepares → journal, fsync: decided → every worker commits → answer

The first two steps may refuse and leave everything as it was. After the journal nothing is taken back; a caller that
goes away in the middle does not stop it half way.
"""

import contextlib
import logging
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import trio

from sozu_trio.config.descriptors import descriptors_of_worker, misfit
from sozu_trio.config.directives import parse_directives
from sozu_trio.control.journal import Entry
from sozu_trio.errors import ChangeRefused, NotConfirmed, OperatorError, Problem
from sozu_trio.main.actors import Actor
from sozu_trio.main.events import Event, Events
from sozu_trio.main.told import events_of
from sozu_trio.nursery.garbage import keep
from sozu_trio.nursery.supervisor import Supervisor
from sozu_trio.routing.delta import Delta, diff
from sozu_trio.routing.drains import Drains
from sozu_trio.routing.state import State
from sozu_trio.telemetry.log import apply_directives

log = logging.getLogger(__name__)

LARGE = 2000
"""Clusters from which on a new State is worked out in a thread: comparing so many holds the loop for milliseconds."""


class Records(Protocol):
    """What a transaction asks of the journal."""

    async def append(self, entry: Entry) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One change as it is asked for.

    `make` turns the State in force into the one wanted and raises OperatorError where that cannot be; it is pure and
    may run in a thread. `events` are told beside those of the change itself. `follow` is called as soon as what is
    wanted is in force, before anybody else has a turn.
    """

    actor: Actor
    what: str
    make: Callable[[State], State]
    drains: Drains = field(default_factory=Drains)
    events: tuple[Event, ...] = ()
    large: bool = False
    workers: int | None = None
    """How many there are to be; None = as many as there are."""
    follow: Callable[[], None] = lambda: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of an order: the generation now in force and what has changed to make it so, if anything."""

    generation: int
    before: State
    delta: Delta
    workers: tuple[int, int]
    """How many there were before, and how many there are now."""


class Transactions:
    """All changes of one main, after those of its start."""

    def __init__(self, supervisor: Supervisor, journal: Records | None, events: Events) -> None:
        """`journal`: None = what is acknowledged lasts as long as the process, as in tests."""
        self._supervisor = supervisor
        self._journal = journal
        self._events = events
        self._turn = trio.Lock()

    @property
    def state(self) -> State:
        return self._supervisor.state

    @property
    def generation(self) -> int:
        return self._supervisor.generation

    @contextlib.asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """Nothing is carried out while the body runs."""
        async with self._turn:
            yield

    async def carry_out(self, order: Order) -> Outcome:
        """Make the State that `order` wants the one everybody serves by. An order that changes nothing makes no
        generation.

        Raises OperatorError: ChangeRefused, JournalError and WorkerRefused change nothing; after NotConfirmed the
        change is in force, but not yet at every worker. Where nothing has changed there are as many
        workers as before.
        """
        async with self._turn:
            before, workers = self.state, self._supervisor.worker_count
            wanted = workers if order.workers is None else order.workers
            after, delta, told = await _work_out(order, before)
            outcome = Outcome(
                generation=self.generation + bool(delta), before=before, delta=delta, workers=(workers, wanted)
            )
            # More of them come first and fewer last, because only the former can fail as a matter of course.
            try:
                async with self._more_workers(wanted):
                    await self._swap(order, after, told, outcome)
            finally:
                if wanted < workers and self.generation == outcome.generation:
                    with trio.CancelScope(shield=True):
                        await self._supervisor.employ(wanted)
        return outcome

    @contextlib.asynccontextmanager
    async def _more_workers(self, wanted: int) -> AsyncIterator[None]:
        """Where there are fewer than `wanted` have so many, unless the body changes nothing."""
        workers = self._supervisor.worker_count
        if wanted <= workers:
            yield
            return
        await self._supervisor.employ(wanted)
        try:
            yield
        except NotConfirmed:
            raise
        except BaseException:
            # A proxy that stops has none before long.
            with trio.CancelScope(shield=True), contextlib.suppress(OperatorError):
                await self._supervisor.employ(workers)
            raise

    async def _swap(self, order: Order, after: State, told: list[Event], outcome: Outcome) -> None:
        delta = outcome.delta
        try:
            if delta:
                await self._decide(order, after, outcome)
            elif any(grace is not None for grace in order.drains.listeners.values()):
                await self._supervisor.drain(order.drains)
        finally:
            # Once it is in the journal it is in force, also where a worker has not confirmed it yet.
            if self.generation == outcome.generation:
                order.follow()
                self._follow(outcome, (*told, *order.events))

    async def _decide(self, order: Order, after: State, outcome: Outcome) -> None:
        entry = Entry(
            generation=outcome.generation,
            time=time.time(),
            uid=order.actor.uid,
            pid=order.actor.pid,
            process=order.actor.process,
            what=order.what,
            delta=outcome.delta,
        )
        journal = None if self._journal is None else partial(self._journal.append, entry)
        await self._supervisor.change(
            after, outcome.generation, delta=outcome.delta, drains=order.drains, journal=journal
        )

    def _follow(self, outcome: Outcome, told: tuple[Event, ...]) -> None:
        """Do here what the change says, and tell of it."""
        settings = outcome.delta.settings
        if settings is not None and settings.log_level != outcome.before.settings.log_level:
            apply_directives(parse_directives(settings.log_level))
        self._events.tell(*told)
        keep(len(outcome.delta) + len(outcome.delta.declared or ()))


def _refuse_misfit(before: State, after: State) -> None:
    """Raises ChangeRefused where more connections are to be let in than there are descriptors for."""
    if after.settings.max_connections == before.settings.max_connections:
        return
    if (what := misfit(after.settings, descriptors_of_worker())) is not None:
        raise ChangeRefused((Problem("max_connections", what),))


async def _work_out(order: Order, before: State) -> tuple[State, Delta, list[Event]]:
    """The new State, the difference, and what that is told as."""

    def work() -> tuple[State, Delta, list[Event]]:
        after = order.make(before)
        _refuse_misfit(before, after)
        delta = diff(before, after)
        return after, delta, events_of(before, delta)

    if order.large or len(before.clusters) > LARGE:
        return await trio.to_thread.run_sync(work)
    return work()
