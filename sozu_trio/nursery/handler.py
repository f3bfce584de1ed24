"""What a worker asks of those who know what a connection is, which `proxy` does, and of the process it is."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Protocol

from sozu_trio.config.addresses import Address
from sozu_trio.config.program import Program, Settings
from sozu_trio.control.channel import Channel
from sozu_trio.control.messages import Ask, Happened, Sandboxed
from sozu_trio.control.moves import Learned
from sozu_trio.nursery.listener import Doorkeeping
from sozu_trio.nursery.tally import Tally
from sozu_trio.routing.state import ListenerKey
from sozu_trio.routing.table import Table
from sozu_trio.telemetry.counters import Counters
from sozu_trio.telemetry.lines import LineBuffer


class Handler(Protocol):
    """What connections are served by; made by the application, so that this package need not know it."""

    @property
    def doors(self) -> Doorkeeping: ...
    @property
    def lines(self) -> LineBuffer: ...
    @property
    def counters(self) -> Counters: ...
    @property
    def services(self) -> Mapping[str, Callable[[], Awaitable[None]]]:
        """By the names the tree shows."""

    def follow(self, settings: Settings) -> None:
        """Go by `settings` from now on."""

    def relieve_with(self, relieve: Callable[[], int]) -> None:
        """Have `relieve` called where descriptors run out."""

    def tell_with(self, tell: Callable[[Happened], None]) -> None:
        """Have `tell` called for every event."""

    def trust(self, authorities: str) -> None:
        """Hold backends against these, in PEM, where nobody says otherwise; before the first Table."""

    def swap(self, table: Table) -> Collection[ListenerKey]:
        """Serve by `table` from now on; synchronous, between two checkpoints. Returns the listeners whose idle
        connections have to look at what they are now.
        """

    def cut_backend(self, cluster_id: str, backend_id: str, address: Address) -> int:
        """Cut everything that goes to a removed backend; returns how many connections that were."""

    def learned(self) -> Learned:
        """What is known of backends, for the worker that comes next."""

    async def learn(self, learned: Learned) -> None:
        """Know what the worker before did."""

    async def look(self, what: str, query: Mapping[str, Any]) -> Any:
        """JSON that answers `query`. Raises ValueError for what cannot be asked."""


class OwnProcess(Protocol):
    """What a worker that is a process of its own has besides."""

    @property
    def lines(self) -> LineBuffer:
        """Of its log, on their way to main."""

    @property
    def place(self) -> int:
        """The descriptor of the file it tells in where it is."""

    @property
    def listing(self) -> int:
        """A descriptor of the directory that lists its descriptors."""

    @property
    def sandbox(self) -> Sandboxed:
        """What it is sealed with."""

    @property
    def group_limit(self) -> int | None:
        """Bytes that main and all workers may have together; None for no limit."""

    def resident(self) -> int:
        """Bytes of memory it has."""

    async def next_main(self, introduce: Callable[[Channel[Ask]], Awaitable[None]]) -> Channel[Ask]:
        """Wait for a main that comes after one that has died."""

    def close_door(self) -> None:
        """No other main is to come."""

    def begin(self, program: Program) -> None:
        """The first message has come."""

    def follow(self, generation: int, settings: Settings) -> None:
        """`generation` is in force."""


MakeHandler = Callable[[Program, int, Tally], Handler]
"""Makes that of the worker with an id."""
