"""What main and a worker say to one another.

Main asks and the worker answers each `serial` once, in order, with a Reply; Reports come unasked. A change travels as
what is different. Amend says it, in as many parts as it takes, Prepare makes a Table of it and changes nothing, Commit
swaps that in (design: the commit point lies between them, in main's journal). Listening sockets travel as descriptors
beside Listen.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sozu_trio.config.addresses import Address
from sozu_trio.config.program import Program
from sozu_trio.routing.delta import Delta

PROTOCOL = 5
"""Of these messages; another one with each change that a worker of an earlier version would not understand."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """The first message: what holds for the whole life of the worker. With it comes the memory all workers count in, as
    two descriptors (`nursery/tally.py`).
    """

    serial: int
    worker_id: int
    program: Program
    region: int
    """Its own part of that memory."""
    authorities: str = field(default="", repr=False)
    """Those that the system trusts, in PEM: certificates of backends are held against them where nobody says
    otherwise.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopt:
    """The first message of a main that finds a worker whose own has died. What the worker has comes before its Reply:
    Holding, as often as it takes, and Adopted.

    Every version of this program knows it. Another `protocol` than the worker's is refused.
    """

    serial: int
    protocol: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CountIn:
    """To a worker that has been adopted: the memory in which all count from now on comes with it, as with Begin."""

    serial: int
    region: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Amend:
    """A part of what is different from generation `base` (None = from nothing at all).

    Parts of one `attempt` add up, those that remove before those that put. Another attempt begins anew; what was
    prepared before is dropped.
    """

    serial: int
    attempt: int
    base: int | None
    delta: Delta


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """Compile what the parts of `attempt` have made, as `generation`; a failure leaves everything as it was."""

    serial: int
    attempt: int
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Drop what was amended and prepared: it will not be committed."""

    serial: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Commit:
    """Serve by the prepared `generation` from now on."""

    serial: int
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Listen:
    """Accept on the socket that comes with this message, for the listener at `address`."""

    serial: int
    transport: str
    address: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Unlisten:
    """Stop accepting at `address` and drain its sessions; cut them after `grace` seconds (None = never)."""

    serial: int
    transport: str
    address: Address
    grace: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lend:
    """Accept, as long as `owner` cannot, on its socket too, for a listener you accept for yourself."""

    serial: int
    owner: int
    transport: str
    address: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveBack:
    """Accept no more on what was lent; whoever came in that way stays."""

    serial: int
    owner: int
    transport: str
    address: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """Say that you are there."""

    serial: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Cut what a removed backend still serves after `grace` seconds, unless it has come back by then."""

    serial: int
    cluster_id: str
    backend_id: str
    address: Address
    grace: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """Tell what there is now: `what` is one of those in `nursery/looks.py`, or backends or route."""

    serial: int
    what: str
    query: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """Cut one session. The content of the Reply says whether there was one of that name."""

    serial: int
    session: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HandOver:
    """Accept no more: a successor of the same id does. Move to it what can be moved, over the channel whose end comes
    with this message; what is left after `grace` seconds (None = never) is cut. End when nothing is left.
    """

    serial: int
    grace: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeOver:
    """Take what the worker before hands over, on the channel whose other end comes with this message."""

    serial: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Stop every listener as Unlisten does, then end. May be sent again with another `grace`; 0 is a hard stop."""

    serial: int
    grace: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to `serial`: done, or why not, and whatever was asked for, as JSON has it."""

    serial: int
    failure: str | None = None
    content: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sandboxed:
    """What a worker that is a process has sealed itself with; it tells every main, the first one before it answers
    Begin.
    """

    layers: tuple[str, ...] = ()
    """In force."""
    missing: tuple[str, ...] = ()
    """Which are not, and why."""
    refusal: str = ""
    """Why it will not serve without them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Access-log lines, separated by line feeds, and how many were dropped before them."""

    lines: str
    dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Logged:
    """Lines of the worker's log, each with its traceback if it has one, and how many were dropped before them."""

    lines: tuple[str, ...]
    dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """An event, with a kind of Sōzu's (reference §3.4)."""

    kind: str
    cluster_id: str | None = None
    backend_id: str | None = None
    address: Address | None = None
    details: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What the worker has counted since it began, as `telemetry.counters` lists it."""

    counters: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """All that can be moved has been looked at once: so many sessions were moved, and so many are left for now."""

    moved: int
    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stranded:
    """The channel to the successor has ended, and so many sessions are left, which go on where they are."""

    left: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The last message: how many sessions were cut."""

    cut: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """Listening sockets of an adopted worker, which come with this message in this order: whose, and for what."""

    sockets: tuple[tuple[int, str, Address], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """Who an adopted worker is. With it comes the file it tells in where it is."""

    worker_id: int
    program: Program
    secret: str = field(repr=False)
    """What keys are made with in the memory it counts in (`nursery/tally.py`), in hexadecimal."""
    leaving: bool = False
    """It has handed over to a successor, and only drains."""
    seconds_left: float | None = None
    """How long until it cuts what it drains; None: never, or it does not drain."""


Ask = (Begin | Adopt | CountIn | Amend | Prepare | Forget | Commit | Listen | Unlisten) | (
    Lend | GiveBack | Beat | Cut | Look | Kill | HandOver | TakeOver | Stop
)
Report = Reply | Sandboxed | Lines | Logged | Happened | Counted | HandedOver | Stranded | Stopped | Holding | Adopted

ASKS: dict[str, type[Ask]] = {
    kind.__name__: kind
    for kind in (
        *(Begin, Adopt, CountIn, Amend, Prepare, Forget, Commit, Listen, Unlisten, Lend, GiveBack, Beat, Cut, Look),
        *(Kill, HandOver, TakeOver, Stop),
    )
}
REPORTS: dict[str, type[Report]] = {
    kind.__name__: kind
    for kind in (Reply, Sandboxed, Lines, Logged, Happened, Counted, HandedOver, Stranded, Stopped, Holding, Adopted)
}
