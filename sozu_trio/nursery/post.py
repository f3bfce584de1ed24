"""The post a worker is kept at, and what may hold it: one that is started, or one that is found."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

import trio

from sozu_trio.config.limits import GOODBYE
from sozu_trio.control.channel import Channel
from sozu_trio.control.messages import Ask, Report
from sozu_trio.nursery.workers import WorkerHandle
from sozu_trio.routing.state import ListenerKey


def why_not_begun(ended: WorkerHandle | OSError) -> str:
    """What has kept a worker from beginning, behind its name."""
    if isinstance(ended, OSError):
        return f"cannot be started: {ended}"
    if ended.sandbox.refusal:
        return f"does not begin: {ended.sandbox.refusal}"
    return "has ended before it began: see its messages"


@dataclass(frozen=True, slots=True)
class Spawned:
    """A worker that has been started."""

    pid: int
    where: Callable[[], Awaitable[str]] | None = None
    """Tells what it is doing, if it can be told to tell. None for a task of main, which cannot hang alone."""


class Spawn(Protocol):
    """Runs a worker on its end of a channel until it has ended; says so as soon as it is started.

    Cancelled, it ends the worker at once. Raises OSError before it has started where there is no room for a worker.
    """

    async def __call__(
        self, worker_id: int, channel: Channel[Ask], /, *, task_status: trio.TaskStatus[Spawned]
    ) -> None: ...


class Found(Protocol):
    """A worker that runs already (`nursery/adoption.py`)."""

    worker_id: int
    pid: int
    channel: Channel[Report]
    secret: bytes
    """What it makes keys with of what all workers count together."""
    listening: set[ListenerKey]
    """Where it accepts on sockets of its own."""
    generation: int | None
    """The one it serves by; None = to be told everything anew."""
    seconds_left: float | None
    """Of one that leaves: how long until it cuts what it has; None = never."""
    given_up: bool
    """Set when it has said its last or is of no use: `stay` ends it when it is cancelled then."""

    async def stay(self, *, task_status: trio.TaskStatus[Spawned]) -> None:
        """As Spawn."""


@dataclass(slots=True, eq=False)
class Post:
    """What a worker and those who replace it when it dies are kept at."""

    found: Found | None = None
    """Whoever holds it now, where that is one that main has found."""
    pid: int | None = None
    """The process that runs now, whether it has begun or not."""
    worker: WorkerHandle | None = None
    """Who holds it, or held it last, once it has begun."""
    patience: float | None = None
    """Seconds whoever holds it gets for each answer; None: as long as all get."""
    on_trial: bool = False
    """Whoever holds it is not in its place yet."""
    leaves: bool = False
    """Another post has taken its place."""
    given_up: trio.Event = field(default_factory=trio.Event)
    """Nobody is to follow whoever holds it now."""
    dismissed: bool = False
    """The others go on."""
    failure: str = ""
    """Why who held it last has ended without a word."""
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)

    @property
    def is_last(self) -> bool:
        """Whether nobody is to follow whoever holds it."""
        return self.given_up.is_set() or self.on_trial or self.leaves

    def dismiss(self) -> None:
        """Whoever holds it is to end by itself, and the others go on."""
        self.dismissed = True
        self.give_up(None)

    def give_up(self, grace: float | None) -> None:
        """Whoever holds it is to end by itself, and is killed if it has not done so soon after `grace` seconds."""
        self.given_up.set()
        if self.found is not None:
            self.found.given_up = True
        if grace is not None:
            self.scope.deadline = min(self.scope.deadline, trio.current_time() + grace + 2 * GOODBYE)

    def discharge(self) -> None:
        """Whoever holds it is killed."""
        self.dismiss()
        self.scope.cancel(reason="it is not wanted any more")
