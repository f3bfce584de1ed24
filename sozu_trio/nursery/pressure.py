"""What a worker does about clients when something gets short: descriptors, room, time, memory."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from functools import partial

from sozu_trio.config.memory import share
from sozu_trio.config.program import Settings
from sozu_trio.control.messages import Happened
from sozu_trio.nursery.drain import release_idle
from sozu_trio.nursery.handler import Handler, OwnProcess
from sozu_trio.nursery.listener import ListenerNode
from sozu_trio.nursery.memory import LEAVE, SHARE, Memory
from sozu_trio.nursery.overload import Overload

RELIEF = 16
"""Descriptors to be given back at a time when they have run out."""


class Pressure:
    """Of one worker, which is not in Trio yet."""

    def __init__(
        self,
        worker: str,
        nodes: Callable[[], Collection[ListenerNode]],
        handler: Handler,
        process: OwnProcess | None,
        tell: Callable[[Happened], None],
    ) -> None:
        """`nodes`: the listeners it has. `process`: None for a task of main, whose memory is not its."""
        self._worker = worker
        self._nodes = nodes
        self._handler = handler
        self._tell = tell
        self.overload = Overload(partial(self._happened, "OVERLOAD"))
        self._process = process
        self._max_memory: int | None = 0
        self.memory: Memory | None = None
        if process is not None:
            self.memory = Memory(process.resident, self._budget, self._give_memory_back, self._memory_is_short)

    @property
    def services(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """To be run beside the sessions, by name."""
        return {} if self.memory is None else {"memory": self.memory.watch}

    def follow(self, settings: Settings) -> None:
        """Go by `settings` from now on. In Trio."""
        self.overload.follow(settings.overload_lag)
        self._max_memory = settings.max_memory

    @property
    def sheds(self) -> list[str]:
        """What is short just now: `overload`, `memory`."""
        short = {"overload": self.overload.is_on, "memory": self.memory is not None and self.memory.is_short}
        return [what for what, is_short in short.items() if is_short]

    def relieve(self) -> int:
        """Descriptors have run out: close what nobody uses, then have clients leave who only wait, the oldest first."""
        freed = self._handler.doors.relieve()
        return freed + release_idle([node.drain for node in self._nodes()], max(0, RELIEF - freed))

    def evict(self, most: int) -> int:
        """Have up to so many clients leave who only wait, the oldest first; nobody who would have to anyhow."""
        evicted = release_idle([node.drain for node in self._nodes() if not node.drain.started], most)
        self._handler.counters.evicted += evicted
        return evicted

    def _budget(self) -> int | None:
        """Bytes this worker may have, None for any number: what is configured, or its share of the group's."""
        assert self._process is not None
        limit = self._process.group_limit
        if self._max_memory is None and limit is not None:
            return share(limit, self._handler.doors.capacity.processes)
        return self._max_memory or None

    def _give_memory_back(self) -> int:
        self._handler.doors.relieve()
        return self.evict(max(LEAVE, int(self._handler.doors.capacity.taken * SHARE)))

    def _memory_is_short(self, short: bool) -> None:
        self._handler.doors.capacity.is_closed = short
        self._happened("MEMORY_SHORTAGE", short)

    def _happened(self, what: str, begins: bool) -> None:
        self._tell(Happened(kind=f"{what}_{'BEGAN' if begins else 'ENDED'}", details=self._worker))
