"""How sessions leave: who is left, told once a second to whoever waits for the last one.

Workers are asked again and again: they answer in a fraction of a millisecond, and one that dies takes its sessions with
it and no promise to tell.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.control.answering import Progress
from sozu_trio.errors import NotConfirmed
from sozu_trio.nursery.cuts import Removed
from sozu_trio.nursery.supervisor import Supervisor
from sozu_trio.nursery.workers import Who
from sozu_trio.telemetry.plural import count

PERIOD: Final = 1.0
"""Seconds between two progress replies."""
POLL: Final = 0.1
"""Seconds between two looks whether the last one has gone."""

Found = Sequence[Mapping[str, int]]
"""What one worker says of each that drains: {"sessions", "websocket", "tcp", "cut"}."""


async def look_at_left(supervisor: Supervisor, leaving: "Leaving | None" = None) -> "Left":
    """Who is left of `leaving`; None: at all listeners that let nobody in any more."""
    looks: list[Mapping[Who, Found]] = []
    if leaving is None or leaving.listeners:
        looks.append(await _look_at_listeners(supervisor, None if leaving is None else leaving.listeners))
    if leaving is not None and leaving.backends:
        named = [[cluster_id, backend_id, str(address)] for cluster_id, backend_id, address in leaving.backends]
        looked = await supervisor.look("removed", {"backends": named})
        looks.append({worker: [found] for worker, found in looked.items()})
    drains = [drain for look in looks for found in look.values() for drain in found]
    return Left(
        sessions=sum(drain["sessions"] for drain in drains),
        websocket=sum(drain["websocket"] for drain in drains),
        tcp=sum(drain["tcp"] for drain in drains),
        cut={
            who.pid: sum(drain["cut"] for look in looks for drain in look.get(who, ())) for who in set().union(*looks)
        },
        complete=all(supervisor.living <= look.keys() for look in looks),
    )


async def _look_at_listeners(supervisor: Supervisor, listeners: Collection[Address] | None) -> dict[Who, Found]:
    wanted = None if listeners is None else {str(address) for address in listeners}
    return {
        worker: [drain for address, drain in found.items() if wanted is None or address in wanted]
        for worker, found in (await supervisor.look("drains")).items()
    }


async def wait_for_the_last(supervisor: Supervisor, leaving: "Leaving", deadline: float, progress: Progress) -> "Left":
    """Tell who is left of `leaving`, where nobody gets in any more, until it is nobody; returns how that was.

    `deadline`: when workers cut who is left, by Trio's clock. Raises NotConfirmed when the proxy stops meanwhile.
    """
    told = trio.current_time()
    while True:
        left = await look_at_left(supervisor, leaving)
        if supervisor.stopping.is_set():
            decided = f"generation {supervisor.generation} is decided and stays so"
            raise NotConfirmed(f"{decided}, but the proxy stops before the last one has gone", supervisor.generation)
        if left.complete and not left.sessions:
            return left
        if trio.current_time() >= told + PERIOD:
            told = trio.current_time()
            await left.tell(deadline, progress)
        await trio.sleep(POLL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaving:
    """Where nobody gets in any more, and who is there is waited for."""

    listeners: Collection[Address] = ()
    backends: Collection[Removed] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Sessions that have not ended yet."""

    sessions: int
    websocket: int
    """How many of them are upgraded."""
    tcp: int
    """How many of them are of tcp listeners."""
    cut: Mapping[int, int] = field(default_factory=dict)
    """How many each worker, by its process, has cut there since it began."""
    complete: bool = True
    """Every worker has answered."""

    def cut_since(self, before: "Left") -> int:
        """How many were cut since then, without those that died with their worker."""
        return sum(max(0, number - before.cut.get(worker, 0)) for worker, number in self.cut.items())

    async def tell(self, deadline: float, progress: Progress) -> None:
        """Say who is left, if anybody, and for how long: `deadline` is by Trio's clock, inf = as long as they need."""
        if not self.sessions:
            return
        seconds = None if deadline == math.inf else max(0.0, deadline - trio.current_time())
        await progress(self._message(seconds), self._content(seconds))

    def _message(self, seconds: float | None) -> str:
        said = [f"{count(self.sessions, 'session')} left"]
        kinds = [f"{number:,} {name}" for number, name in ((self.websocket, "WebSocket"), (self.tcp, "TCP")) if number]
        if kinds:
            said.append(" and ".join(kinds).replace(" ", " of them ", 1))
        if seconds is not None:
            said.append(f"{math.ceil(seconds)} s")
        return ", ".join(said)

    def _content(self, seconds: float | None) -> dict[str, Any]:
        return {
            "sessions": self.sessions,
            "websocket": self.websocket,
            "tcp": self.tcp,
            "seconds": None if seconds is None else round(seconds, 1),
        }
