"""A worker's side of a change: how it comes from one generation to the next.

What main amends becomes a State beside the one in force, and that a Table beside the one in force; only Commit puts
them in its place. All of it goes in slices between which traffic is served, and the longest of them is known
(`holding.py`). What a large change has made is no business of the garbage collector (`garbage.py`).
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from sozu_trio.control.messages import Amend, Prepare
from sozu_trio.control.parts import joined
from sozu_trio.errors import ChannelError
from sozu_trio.nursery.garbage import keep
from sozu_trio.nursery.holding import in_slices, measured
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
        with measured(self._holds, since):
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
        compiling = _compile(attempt, message.generation)
        attempt.prepared = await in_slices(compiling, self._holds)
        self._attempt = attempt

    def commit(self, generation: int) -> None:
        """Serve by what was prepared. Raises ChannelError where that is not `generation`."""
        attempt = self._attempt
        if attempt is None or attempt.prepared is None or attempt.prepared.generation != generation:
            raise ChannelError(f"generation {generation} was not prepared")
        with measured(self._holds):
            self._attempt = None
            self._swap(attempt.prepared)
            self.state, self._table = attempt.state, attempt.prepared
            self._counters.changes += 1
            keep(sum(map(len, attempt.parts)))
            # The State and the Table of before are freed here, which takes a while where much is gone.
            attempt = None

    def forget(self) -> None:
        self._attempt = None

    @property
    def _holds(self) -> Counters:
        """Where holds of the loop are kept. Before the first generation is in force nobody is kept waiting."""
        return self._counters if self.generation > 0 else Counters()


def _compile(attempt: _Attempt, generation: int) -> Generator[None, None, Table]:
    delta = joined(attempt.parts)
    yield
    return (yield from recompile(attempt.table, attempt.state, delta, generation))
