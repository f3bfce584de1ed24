"""The last generations: a State, what changed since, and who changed it.

At least KEPT changes are remembered once there were so many; older ones become part of the base, many at a time, so
that a change costs nothing that goes with the size of the State.
"""

from dataclasses import dataclass
from typing import Final

from sozu_trio.errors import OperatorError
from sozu_trio.routing.delta import Delta, amend
from sozu_trio.routing.state import State

KEPT: Final = 100
"""Generations that `history` lists and `rollback` reaches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One transaction: the generation it made, when (seconds since the epoch), who asked for it, and what changed."""

    generation: int
    time: float
    uid: int
    pid: int
    process: str
    what: str
    """One line, such as `backend add api-1 to api`."""
    delta: Delta


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """`entries` make the generations after `base_generation`, one each, without a gap."""

    base: State
    base_generation: int
    entries: tuple[Entry, ...] = ()

    @property
    def generation(self) -> int:
        """The latest."""
        return self.base_generation + len(self.entries)

    def state_at(self, generation: int) -> State:
        """The State of that generation, in time linear in the State. Raises OperatorError for one not remembered."""
        count = generation - self.base_generation
        if not 0 <= count <= len(self.entries):
            known = f"{self.base_generation} to {self.generation}"
            raise OperatorError(f"generation {generation} is not remembered; want one from {known}")
        return amend(self.base, *(entry.delta for entry in self.entries[:count])) if count else self.base

    def with_entry(self, entry: Entry) -> "History":
        """The history that goes on with `entry`. Raises ValueError for one that does not come next."""
        if entry.generation != self.generation + 1:
            raise ValueError(f"generation {entry.generation} does not follow {self.generation}")
        longer = History(base=self.base, base_generation=self.base_generation, entries=(*self.entries, entry))
        return longer.shortened() if len(longer.entries) > 2 * KEPT else longer

    def shortened(self) -> "History":
        """The same with KEPT entries, if there are more."""
        if len(self.entries) <= KEPT:
            return self
        generation = self.generation - KEPT
        return History(base=self.state_at(generation), base_generation=generation, entries=self.entries[-KEPT:])
