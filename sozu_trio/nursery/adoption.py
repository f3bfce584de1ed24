"""Main's side of adoption: workers that serve on after their main has died are found at their doors and taken over.

They are no children of this main: their end is seen by a pidfd, and how they ended is not known.
"""

import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import trio

from sozu_trio.config.program import Program
from sozu_trio.control.channel import Channel
from sozu_trio.control.messages import PROTOCOL, REPORTS, Adopt, Adopted, Holding, Reply, Report, Stop
from sozu_trio.errors import ChannelError
from sozu_trio.nursery.crew import Spawned
from sozu_trio.nursery.door import doors_in, knock, remove_door
from sozu_trio.nursery.orphan import Held
from sozu_trio.nursery.where import where

log = logging.getLogger(__name__)

OF_WORKERS: Final = (
    *("max_connections", "retry_after", "shutdown_timeout", "orphan_timeout"),
    *("access_logs_format", "log_colored"),
)
"""Settings of Program that a worker follows as they were when it began."""


@dataclass(slots=True, eq=False)
class _Told:
    """What a worker says of itself, as far as it has."""

    held: list[Held] = field(default_factory=list)
    adopted: Adopted | None = None
    place: int = -1


class Orphan:
    """An adopted worker, a Found of `nursery/crew.py`. Close it in the end."""

    def __init__(self, door: Path, channel: Channel[Report], pid: int, pidfd: int, told: _Told) -> None:
        assert told.adopted is not None
        self.worker_id = told.adopted.worker_id
        self.program: Program = told.adopted.program
        """What it began with."""
        self.pid = pid
        self.channel = channel
        self.listening = {key for owner, key, _ in told.held if owner == self.worker_id}
        self._held = told.held
        self.given_up = False
        """It is killed when `stay` is cancelled; else it serves on then, for a later main: whatever keeps this one from
        going on is no reason to lose sessions.
        """
        self._door = door
        self._pidfd = pidfd
        self._place = told.place

    async def stay(self, *, task_status: trio.TaskStatus[Spawned]) -> None:
        """Until it has ended."""
        try:
            task_status.started(Spawned(self.pid, partial(where, self._tell, self._place)))
            await trio.lowlevel.wait_readable(self._pidfd)
            remove_door(self._door)
        except trio.Cancelled:
            if self.given_up:
                _kill(self._pidfd)
                remove_door(self._door)
            raise
        finally:
            self._close_descriptors()

    def take_sockets(self) -> list[Held]:
        """Its listening sockets, for the caller to close."""
        held, self._held = self._held, []
        return held

    def _tell(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._pidfd, number)

    async def dismiss(self, grace: float | None) -> None:
        """Have it stop; its sessions get `grace` seconds, None = as long as they need."""
        with suppress(OSError):
            await self.channel.send(Stop(serial=1, grace=grace))
        self.close()

    def close(self) -> None:
        """Its end of whatever nobody has taken over. The worker serves on."""
        self.channel.close()
        for _, _, sock in self.take_sockets():
            sock.close()
        self._close_descriptors()

    def _close_descriptors(self) -> None:
        for descriptor in (self._pidfd, self._place):
            if descriptor >= 0:
                os.close(descriptor)
        self._pidfd = self._place = -1


def settings_kept(orphan: Orphan, program: Program) -> list[str]:
    """Those of `program` that an adopted worker does not follow, since it began with others."""
    return [name for name in OF_WORKERS if getattr(orphan.program, name) != getattr(program, name)]


async def find_orphans(directory: Path, patience: float) -> list[Orphan]:
    """Adopt every worker there is a door of in `directory`. One that does not answer within `patience` seconds is
    killed, for connections would wait in its queue for ever.
    """
    found: list[Orphan] = []

    async def find(door: Path) -> None:
        if (orphan := await _adopt_at(door, patience)) is not None:
            log.info("worker %d (pid %d) is adopted", orphan.worker_id, orphan.pid)
            found.append(orphan)

    async with trio.open_nursery() as nursery:
        for door in doors_in(directory):
            nursery.start_soon(find, door)
    return sorted(found, key=lambda orphan: (orphan.worker_id, orphan.pid))


async def _adopt_at(door: Path, patience: float) -> Orphan | None:
    try:
        channel, pid, pidfd = _connect(door)
    except OSError as error:
        log.debug("nobody at %s: %s", door, error)
        remove_door(door)
        return None
    told = _Told()
    try:
        with trio.move_on_after(patience):
            await _hear(channel, told)
            return Orphan(door, channel, pid, pidfd, told)
        log.error("worker at %s (pid %d) does not answer within %g s: it is killed", door, pid, patience)
        _kill(pidfd)
        remove_door(door)
    except (ChannelError, OSError) as error:
        log.error("worker at %s (pid %d) is not adopted: %s", door, pid, error)
    except BaseException:
        _close(channel, pidfd, told)
        raise
    _close(channel, pidfd, told)
    return None


def _connect(door: Path) -> tuple[Channel[Report], int, int]:
    """A channel to who is behind a door, their process, and a descriptor of that. Raises OSError where nobody is."""
    sock, pid = knock(door)
    try:
        pidfd = os.pidfd_open(pid)
    except BaseException:
        sock.close()
        raise
    return Channel(sock, REPORTS), pid, pidfd


async def _hear(channel: Channel[Report], told: _Told) -> None:
    """Raises ChannelError for a worker that cannot be adopted, OSError for one that is gone."""
    await channel.send(Adopt(serial=0, protocol=PROTOCOL))
    while True:
        received = await channel.receive()
        if received is None:
            raise ChannelError("it has gone")
        report, descriptors = received
        try:
            if isinstance(report, Reply):
                break
            _take(report, descriptors, told)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
    if report.failure is not None or told.adopted is None:
        raise ChannelError(report.failure or "it does not say who it is")


def _take(report: Report, descriptors: list[int], told: _Told) -> None:
    """What is taken of `descriptors` is out of it then."""
    match report:
        case Holding() if len(report.sockets) == len(descriptors):
            told.held += _sockets(report, descriptors)
        case Adopted() if len(descriptors) == 1 and told.adopted is None:
            told.adopted, told.place = report, descriptors.pop()
        case _:
            raise ChannelError(f"{type(report).__name__} with {len(descriptors)} descriptors makes no sense")


def _sockets(report: Holding, descriptors: list[int]) -> Iterator[Held]:
    for owner, transport, address in report.sockets:
        sock = socket.socket(fileno=descriptors.pop(0))
        sock.setblocking(False)
        yield owner, (transport, address), sock


def _kill(pidfd: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def _close(channel: Channel[Report], pidfd: int, told: _Told) -> None:
    channel.close()
    os.close(pidfd)
    for _, _, sock in told.held:
        sock.close()
    if told.place >= 0:
        os.close(told.place)
