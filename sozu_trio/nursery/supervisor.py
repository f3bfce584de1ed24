"""Main: owns State and the listening sockets, tells workers, and ends them.

A change is a transaction: bind what is new → every worker prepares → the journal → every worker follows
(nursery/transaction.py). Whatever fails up to the journal, and in it, leaves everything as it was. With the journal the
change is decided: State and generation are the new ones, nothing stops half way, and a worker that does not follow is
brought in step as soon as it can be.
"""

import contextlib
import logging
import math
import socket
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.program import Program
from sozu_trio.control.answering import Progress
from sozu_trio.control.messages import Happened, Lines, Logged
from sozu_trio.errors import NotConfirmed, OperatorError
from sozu_trio.nursery.adoption import Orphan
from sozu_trio.nursery.asking import kill_session_of, look_at
from sozu_trio.nursery.crew import Crew
from sozu_trio.nursery.estate import Estate, left_by
from sozu_trio.nursery.hands import Hands
from sozu_trio.nursery.loans import Loans
from sozu_trio.nursery.post import Spawn
from sozu_trio.nursery.sockets import ListeningSockets
from sozu_trio.nursery.sorting import SortedOut, sort_out, take_sockets_over, tell_of_settings_kept
from sozu_trio.nursery.succession import Succeeded, Successors
from sozu_trio.nursery.together import Journal, Together
from sozu_trio.nursery.transaction import Target, target_of
from sozu_trio.nursery.workers import Who, WorkerStatus
from sozu_trio.routing.delta import NOTHING, Delta
from sozu_trio.routing.drains import Drains, grace_of
from sozu_trio.routing.state import EMPTY, ListenerKey, State
from sozu_trio.telemetry.counters import Counters, read_counters

log = logging.getLogger(__name__)

HEALING_PERIOD: Final = 5.0
"""Seconds between two tries to bring a worker in step that does not follow; a tenth of it where another begins."""
NO_QUERY: Final[Mapping[str, Any]] = MappingProxyType({})
NO_DRAINS: Final = Drains()


class Supervisor:
    """One main with its workers. `run` first, then `change`, then `stop`."""

    def __init__(
        self,
        program: Program,
        spawn: Spawn,
        on_lines: Callable[[Lines | Logged], None],
        on_event: Callable[[Happened], None] = lambda _: None,
        *,
        workers: int = 1,
    ) -> None:
        self.program = program
        self.state: State = EMPTY
        self.generation = 0
        self.stopped = trio.Event()
        """The last worker has stopped."""
        self.stopping = trio.Event()
        """It was told to stop."""
        self.deadline = math.inf
        """When the stop cuts what is left, by Trio's clock."""
        self._crew = Crew(program, spawn, on_lines, on_event, self._settle)
        self.worker_count = workers
        """How many there are to be; those that only drain are not among them."""
        self._sockets = ListeningSockets(workers)
        self._loans = Loans(self._crew, self._sockets)
        self._hands = Hands(self._crew, self._sockets, self._loans, self._refuse_while_stopping)
        self._successors = Successors(program, self._crew, self._sockets, self._loans, self._refuse_while_stopping)
        self._together = Together(self._crew, self._sockets, self._refuse_while_stopping)
        self.upgrading = trio.Lock()
        """Held by whoever replaces a worker, or main; to be had before anything that changes need."""
        self._moved = trio.Event()
        self._changing = trio.Lock()
        self._out_of_step = trio.Event()
        self._succeeds = False
        """An image of main before has left what is there."""
        self._found = SortedOut()

    def inherit(self, sockets: Iterable[socket.socket], *, shared: bool = False) -> None:
        """Take over sockets that already listen; each serves the listener of its address.

        `shared`: whoever gave them holds them, too, and goes on holding them.
        """
        self._sockets.inherit(sockets, shared=shared)

    @contextlib.asynccontextmanager
    async def still(self) -> AsyncIterator[None]:
        """Nothing changes while the body runs, `upgrading` held. Raises OperatorError when the proxy is stopping."""
        async with self._changing:
            self._refuse_while_stopping()
            yield

    def estate(self) -> Estate:
        """What the next image of main needs to go on in our place; nothing may change from now on."""
        workers, past = left_by(self._crew.counted, self._crew.past, self.generation)
        return Estate(
            generation=self.generation,
            worker_count=self.worker_count,
            workers=workers,
            beginning=sorted(self._crew.pids - {worker.pid for worker in workers}),
            past=past.numbers(),
            sockets=self._sockets.left(),
        )

    def succeed(self, estate: Estate, orphans: Collection[Orphan]) -> None:
        """Go on, once `run` is called, with what the image before has left, and with the workers that were found."""
        self._succeeds = True
        self.worker_count = estate.worker_count
        self._sockets.go_on_with(estate.sockets)
        found = {orphan.pid for orphan in orphans}
        for orphan in orphans:
            orphan.generation = estate.generation_of(orphan.pid)
        for counters in (estate.past, *(worker.counters for worker in estate.workers if worker.pid not in found)):
            ended = read_counters(counters)
            ended.close_gauges()
            self._crew.past.add(ended)

    async def go_on(self, state: State, generation: int) -> None:
        """Have in force what the image before had, from which on there is no way back to that one; workers that do not
        follow it yet are brought in step, those that are too many stop.
        """
        async with self._changing:
            self.state, self.generation = state, generation
            self._found.spare_nobody()
            await self._dismiss_surplus()
        self._settle()

    @property
    def _stopping(self) -> bool:
        return self.stopping.is_set()

    async def run(
        self, orphans: Sequence[Orphan] = (), *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Start the workers and serve them until the last has stopped. `orphans` take the place of those they can."""
        adopted = self._adopt(orphans)
        try:
            async with trio.open_nursery() as services:
                services.start_soon(self._heal, name="healing")
                services.start_soon(self._keep_lent, name="loans")
                async with trio.open_nursery() as workers:
                    self._hands.start = partial(workers.start, self._crew.keep)
                    self._successors.start = partial(workers.start, self._crew.try_out)
                    async with trio.open_nursery() as starting:
                        for worker_id in (*self._sockets.of, *self._surplus):
                            starting.start_soon(workers.start, self._crew.keep, worker_id, adopted.get(worker_id))
                    for orphan in self._found.leaving:
                        orphan.listening = set(self._sockets.of.get(orphan.worker_id, ()))
                        await workers.start(self._crew.see_out, orphan)
                    for worker in self._crew.workers:
                        if worker.worker_id in adopted:
                            self._loans.remember(adopted[worker.worker_id].lent, worker)
                    if not self._succeeds:
                        await self._dismiss_surplus()
                    task_status.started()
                services.cancel_scope.cancel(reason="the last worker has stopped")
            self.stopped.set()
        finally:
            self._sockets.close()
            self._crew.close()

    def _adopt(self, orphans: Sequence[Orphan]) -> dict[int, Orphan]:
        """One for each id; those with the lowest go on, the others are to end when their sessions have."""
        self._found = sort_out(orphans, None if self._succeeds else self.program)
        adopted = self._found.adopted
        if not self._succeeds:
            self._sockets.expect(sorted(adopted)[: self.worker_count], self.worker_count)
        self._crew.count_with(orphans)
        take_sockets_over([*adopted.values(), *self._found.unsealed], self._sockets)
        for orphan in adopted.values():
            tell_of_settings_kept(orphan, self.program)
        return adopted

    @property
    def _surplus(self) -> set[int]:
        """Ids of workers that were found and that nobody needs."""
        return self._found.adopted.keys() - self._sockets.of.keys()

    async def _dismiss_surplus(self) -> None:
        grace = grace_of(self.program.shutdown_timeout)
        await self._found.dismiss_doubles(grace)
        await self._crew.dismiss(self._surplus, grace)

    def _settle(self) -> None:
        """A worker has died, or begun in the place of one that did."""
        self._moved.set()
        self._out_of_step.set()

    async def _keep_lent(self) -> None:
        while True:
            # Sockets that a worker has shut down are brought back in time as well.
            with trio.move_on_after(HEALING_PERIOD):
                await self._moved.wait()
            self._moved = trio.Event()
            await self._loans.settle()

    async def change(
        self,
        state: State,
        generation: int,
        *,
        delta: Delta | None = None,
        drains: Drains = NO_DRAINS,
        journal: Journal | None = None,
    ) -> None:
        """Make `state` what everybody serves by, as `generation`, in one transaction.

        `delta` is the difference from the State in force, for whoever has worked it out already. Raises OperatorError
        when an address cannot be listened on or the proxy is stopping, WorkerRefused when a worker cannot prepare, and
        whatever `journal` raises: nothing has changed then. Raises NotConfirmed when the change is decided but not
        every worker has confirmed it. A caller that is cancelled has all of it or nothing; a stop in the middle leaves
        nothing listening.
        """
        async with self._changing:
            if generation <= self.generation:
                raise ValueError(f"generation {generation} does not come after {self.generation}")
            self._refuse_while_stopping()
            target = target_of((self.state, self.generation), state, generation, delta, drains)
            opened = self._sockets.open(_active(state))
            try:
                await self._together.decide(target, journal)
            except BaseException:
                self._sockets.drop(opened)
                raise
            self.state, self.generation = state, generation
            self._sockets.take_over(opened, () if self._stopping else _active(state))
            # Whoever asked for it may go away, the change does not stop half way.
            with trio.CancelScope(shield=True):
                failures = await self._follow(target)
        self._complain(failures, generation)

    async def drain(self, drains: Drains) -> None:
        """Cut sooner what drains already; nothing else changes. Raises NotConfirmed as `change` does."""
        async with self._changing:
            generation = self.generation
            target = replace(self._present, drains=drains)
            with trio.CancelScope(shield=True):
                failures = await self._follow(target)
        self._complain(failures, generation)

    async def employ(self, workers: int) -> None:
        """Have so many workers from now on; those that leave finish what they have.

        Raises OperatorError where they cannot be had, or the proxy is stopping; there are as many as before then. A
        caller that is cancelled has all of it or nothing.
        """
        async with self._changing:
            self._refuse_while_stopping()
            before, self.worker_count = self.worker_count, workers
            try:
                if workers > before:
                    await self._hands.take_on(workers - before, self._present, _active(self.state))
                elif workers < before:
                    await self._hands.dismiss(before - workers, grace_of(self.program.shutdown_timeout))
            except BaseException:
                self.worker_count = before
                raise
        self._settle()

    async def upgrade(self, worker_id: int, tell: Progress) -> Succeeded:
        """Replace a worker by a successor that begins beside it, and have that one take over what it has.

        Returns once the successor serves and all that can move at once has moved; the rest drains. Waits for another
        upgrade, and for one that still drains of the same id; `tell` hears of that. Raises OperatorError where the
        successor does not get ready; nothing has changed then.
        """
        while True:
            await self._successors.until_left(worker_id, tell)
            async with self.upgrading:
                if not self._crew.is_leaving(worker_id):
                    succeeded = await self._successors.replace(worker_id, tell, self._changing, lambda: self._present)
                    self._settle()
                    return await self._successors.result(*succeeded)

    @property
    def _present(self) -> Target:
        return target_of((self.state, self.generation), self.state, self.generation, NOTHING, NO_DRAINS)

    def _complain(self, failures: str, generation: int) -> None:
        """Have what is not confirmed tried again. Raises NotConfirmed where there is any."""
        if failures:
            self._out_of_step.set()
            message = f"generation {generation} is decided and stays so, but not all of it is confirmed: {failures}"
            log.error("%s", message)
            raise NotConfirmed(message, generation)

    def _refuse_while_stopping(self) -> None:
        if self._stopping:
            raise OperatorError("the proxy is stopping: nothing can be changed")

    async def _follow(self, target: Target) -> str:
        """Have every worker follow; returns what is not confirmed, if anything."""
        followings = await self._together.follow(target)
        if self._stopping:
            return ""
        failures = self._together.settle(followings)
        self._moved.set()
        return failures

    async def _heal(self) -> None:
        """Bring workers in step that have not followed."""
        while True:
            await self._out_of_step.wait()
            self._out_of_step = trio.Event()
            async with self._changing:
                # Before the first change there is nothing to bring anybody in step with.
                failures = await self._bring_in_step() if self.generation and not self._stopping else ""
                failures = "; ".join(filter(None, (failures, await self._successors.hand_over_again())))
            if failures:
                log.warning("not in step yet: %s", failures)
                await trio.sleep(HEALING_PERIOD / 10)
                with trio.move_on_after(HEALING_PERIOD * 0.9):
                    await self._out_of_step.wait()
                self._out_of_step.set()

    async def _bring_in_step(self) -> str:
        """Have every worker do what it has not done of the generation in force; returns what still is not."""
        wanted = _active(self.state)
        try:
            self._sockets.take_over(self._sockets.open(wanted), wanted)
        except OperatorError as error:
            return str(error)
        target = self._present
        refusals = await self._together.catch_up(target)
        return "; ".join(filter(None, (refusals, await self._follow(target))))

    async def look(self, what: str, query: Mapping[str, Any] = NO_QUERY) -> dict[Who, Any]:
        """What each worker answers (`nursery/looks.py`), those that leave last; one that does not answer is left out.

        Raises WorkerRefused for what cannot be asked.
        """
        return await look_at(self._crew.living, what, query)

    async def kill_session(self, session: str) -> bool:
        """Cut one session; whether there was one of that name. Raises WorkerRefused."""
        return await kill_session_of(self._crew.living, session)

    @property
    def in_step(self) -> bool:
        """Whether every worker serves by the generation in force, and accepts wherever it is to."""
        return self._together.are_in_step(self.generation, _active(self.state))

    @property
    def workers(self) -> list[WorkerStatus]:
        """Those that serve, by id."""
        return [worker.status(self.generation) for worker in self._crew.workers]

    @property
    def living(self) -> set[Who]:
        """Those that serve, and those that only drain."""
        return {worker.who for worker in self._crew.living}

    @property
    def leaving(self) -> list[WorkerStatus]:
        """Those that only drain, because they have a successor."""
        return [worker.status(self.generation) for worker in self._crew.leaving]

    def counters(self) -> Counters:
        """The sum over all workers, at most a second old; exact after `look("counters")`."""
        return self._crew.counters()

    async def stop(self, grace: float | None) -> None:
        """Have every worker stop: no new connections, the idle leave, the rest is cut after `grace` seconds (None =
        never).

        May be called again with less patience. `run` returns when the last worker has stopped.
        """
        self.stopping.set()
        if grace is not None:
            self.deadline = min(self.deadline, trio.current_time() + grace)
        # Workers take what is queued before they close theirs; ours, open a moment longer, would let in some that
        # nobody takes.
        self._sockets.stop()
        await self._crew.stop(grace)

    @property
    def listening(self) -> list[Address]:
        """Where connections are accepted now."""
        return self._sockets.addresses

    @property
    def cut(self) -> int:
        """How many sessions the stop has cut."""
        return sum(worker.stopped.cut for worker in self._crew.counted if worker.stopped)


def _active(state: State) -> set[ListenerKey]:
    """Where somebody is to listen."""
    return {key for key, listener in state.listeners.items() if listener.active}
