"""A worker's side of a change: how it comes from one generation to the next.

What main amends becomes a State beside the one in force, and that a Table beside the one in force; only Commit puts
them in its place. All of it goes in slices between which traffic is served, and the longest slice is kept for whoever
asks (`configuration.longest_hold_us`).
"""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from sozu_trio.control.messages import Amend, Prepare
from sozu_trio.control.parts import joined
from sozu_trio.errors import ChannelError
from sozu_trio.routing.compile import recompile
from sozu_trio.routing.delta import Delta, amend
from sozu_trio.routing.state import EMPTY, State
from sozu_trio.routing.table import NO_TABLE, Table
from sozu_trio.telemetry.counters import Counters


@dataclass(slots=True, eq=False)
class _Attempt:
    """A change that is being told: the State it has come to, the Table it starts from and is compiled from."""

    number: int
    base: int | None
    state: State
    table: Table
    parts: list[Delta] = field(default_factory=list)
    prepared: Table | None = None


class Generations:
    """State and Table in force, and the attempt at the next ones."""

    def __init__(self, swap: Callable[[Table], None], counters: Counters) -> None:
        self.state: State = EMPTY
        """What the Table in force was compiled from."""
        self._table = NO_TABLE
        self._swap = swap
        self._counters = counters
        self._attempt: _Attempt | None = None

    @property
    def generation(self) -> int:
        return self._table.generation

    def amend(self, message: Amend, since: float) -> None:
        """Take one part. `since`: when the loop was taken for it (`time.perf_counter`).

        Raises ChannelError where it does not fit what is here.
        """
        with self._measured(since):
            attempt = self._attempt
            if attempt is None or (attempt.number, attempt.base) != (message.attempt, message.base):
                attempt = self._attempt = self._begin(message)
            attempt.prepared = None
            try:
                attempt.state = amend(attempt.state, message.delta)
            except KeyError as error:
                self._attempt = None
                raise ChannelError(f"removes {error}, which is not in generation {message.base}") from error
            attempt.parts.append(message.delta)

    def _begin(self, message: Amend) -> _Attempt:
        if message.base is None:
            return _Attempt(message.attempt, None, EMPTY, NO_TABLE)
        if message.base != self.generation:
            raise ChannelError(f"amends generation {message.base}, and here is {self.generation}")
        return _Attempt(message.attempt, message.base, self.state, self._table)

    async def prepare(self, message: Prepare) -> None:
        """Compile what was amended. Raises ChannelError for another attempt, and ValueError for what cannot be
        compiled; the attempt is over then.
        """
        attempt = self._attempt
        if attempt is None or attempt.number != message.attempt:
            raise ChannelError(f"nothing was amended in attempt {message.attempt}")
        self._attempt = None
        attempt.prepared = await self._in_slices(_compile(attempt, message.generation))
        self._attempt = attempt

    async def _in_slices(self, compiling: Generator[None, None, Table]) -> Table:
        while True:
            with self._measured(time.perf_counter()):
                try:
                    next(compiling)
                except StopIteration as done:
                    table: Table = done.value
                    return table
            await trio.lowlevel.checkpoint()

    def commit(self, generation: int) -> None:
        """Serve by what was prepared. Raises ChannelError where that is not `generation`."""
        attempt = self._attempt
        if attempt is None or attempt.prepared is None or attempt.prepared.generation != generation:
            raise ChannelError(f"generation {generation} was not prepared")
        with self._measured(time.perf_counter()):
            self._attempt = None
            self._swap(attempt.prepared)
            self.state, self._table = attempt.state, attempt.prepared
            self._counters.changes += 1

    def forget(self) -> None:
        self._attempt = None

    @contextmanager
    def _measured(self, since: float) -> Iterator[None]:
        # Before the first generation is in force there is nobody to be kept waiting.
        serving = self.generation > 0
        try:
            yield
        finally:
            if serving:
                held = int((time.perf_counter() - since) * 1e6)
                self._counters.longest_hold = max(self._counters.longest_hold, held)


def _compile(attempt: _Attempt, generation: int) -> Generator[None, None, Table]:
    delta = joined(attempt.parts)
    yield
    return (yield from recompile(attempt.table, attempt.state, delta, generation))
