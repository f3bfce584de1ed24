"""What main and a worker say to one another.

Main asks and the worker answers each `serial` once, in order, with a Reply; Reports come unasked. A batch of changes
takes two messages: Prepare makes a Table and changes nothing, Commit swaps it in (design: the commit point lies
between them, in main's journal). Listening sockets travel as descriptors beside Listen.
"""

from dataclasses import dataclass

from sozu_trio.config.addresses import Address
from sozu_trio.config.program import Program
from sozu_trio.routing.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Begin:
    """The first message: what holds for the whole life of the worker."""

    serial: int
    worker_id: int
    program: Program


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """Compile `state` as `generation`; a failure leaves everything as it was."""

    serial: int
    generation: int
    state: State


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
class Stop:
    """Stop every listener as Unlisten does, then end. May be sent again with another `grace`; 0 is a hard stop."""

    serial: int
    grace: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """The answer to `serial`: done, or why not."""

    serial: int
    failure: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lines:
    """Access-log lines, separated by line feeds, and how many were dropped before them."""

    lines: str
    dropped: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """The last message: how many sessions were cut."""

    cut: int


Ask = Begin | Prepare | Commit | Listen | Unlisten | Stop
Report = Reply | Lines | Stopped

ASKS: dict[str, type[Ask]] = {kind.__name__: kind for kind in (Begin, Prepare, Commit, Listen, Unlisten, Stop)}
REPORTS: dict[str, type[Report]] = {kind.__name__: kind for kind in (Reply, Lines, Stopped)}
