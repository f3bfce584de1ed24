"""What a worker and its successor say to one another while sessions move.

The old one offers, the successor answers each offer once, in order, with Taken; nothing comes unasked. A session's
sockets travel as descriptors beside Offered, in the order of its parcels.

Who serves a session is never in doubt, because of three rules. The old one touches nothing of what it has offered
before the answer. The successor touches nothing before it has answered, and only what its answer says is taken. Nobody
else holds an end of the channel. So where the channel ends and no answer has come, none was sent, nobody serves what
was offered, and the old one goes on with it. There is no time-out: a successor that is slow may yet answer.

A change of these messages is one of the protocol between main and workers (`messages.PROTOCOL`).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from sozu_trio.config.addresses import Address


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptAlive:
    """An HTTP/1 connection on which no request is being served."""

    client: Address
    destination: Address
    """As the PROXY header had them, where there was one."""
    early: bytes
    """Read and not yet served."""
    idle: float
    """Seconds since something last happened."""
    requests: int
    """It has had so many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One direction of a tunnel."""

    held: bytes
    """Read and not yet passed on."""
    ended: bool
    """The source has closed; its end is passed on behind what is held."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tunnelled:
    """A TCP session or an upgraded connection. Its second socket is the one to the backend."""

    upgraded: bool
    cluster_id: str
    backend_id: str
    backend: Address
    to_backend: Way
    to_client: Way
    idle_timeout: float
    """Seconds; 0 = none."""
    idle_left: float
    """Seconds of it that are left."""
    lasted: float
    """Seconds since the session, or the request that was upgraded, began."""
    bytes_in: int
    bytes_out: int
    """Read from and written to the client in that time."""
    record: Mapping[str, Any]
    """What its access-log line says so far, as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One session. Neither `kept_alive` nor `tunnelled`: its client has said nothing yet, not even a PROXY header."""

    transport: str
    address: Address
    """Of its listener."""
    name: str
    peer: tuple[Any, ...]
    """What `accept` returned."""
    age: float
    """Seconds."""
    held: Mapping[str, int] = field(default_factory=dict)
    """Places that its address has because of it: cluster → key, as all workers know it."""
    kept_alive: KeptAlive | None = None
    tunnelled: Tunnelled | None = None

    @property
    def sockets(self) -> int:
        """How many descriptors come with it."""
        return 1 if self.tunnelled is None else 2

    @property
    def size(self) -> int:
        """Bytes in it that are the peers'."""
        if self.tunnelled is not None:
            return len(self.tunnelled.to_backend.held) + len(self.tunnelled.to_client.held)
        return 0 if self.kept_alive is None else len(self.kept_alive.early)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """A backend that could not be connected to: so many times in a row, and it is left alone for so many seconds."""

    cluster_id: str
    backend_id: str
    address: Address
    failures: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """The first message: what the old worker knows of backends."""

    failing: tuple[Failing, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """Sessions; none where the old worker only asks whether there is room."""

    parcels: tuple[Parcel, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """The answer: which of the parcels are served by the successor from now on, by their places, and which can never
    be. Others may be offered again.
    """

    taken: tuple[int, ...]
    refused: tuple[int, ...]
    room: int
    """Descriptors the successor has to spare now."""


Offer = Learned | Offered

OFFERS: dict[str, type[Offer]] = {kind.__name__: kind for kind in (Learned, Offered)}
ANSWERS: dict[str, type[Taken]] = {Taken.__name__: Taken}

KINDS: Final = (KeptAlive, Way, Tunnelled, Parcel, Failing, Learned, Offered, Taken)
"""All that these consist of, each behind what it consists of itself."""
