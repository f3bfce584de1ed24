"""Main's side of adoption: workers that serve on after their main has died are found at their doors and taken over.

Mostly they are no children of this main: their end is seen by a pidfd, and how they ended is not known. It is known
where main has replaced itself and is still the process that started them.
"""

import logging
import os
import re
import resource
import signal
import socket
import sys
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.program import Program
from sozu_trio.control.channel import Channel, DescriptorsLost, close_all
from sozu_trio.control.messages import PROTOCOL, REPORTS, Adopt, Adopted, Holding, Reply, Report, Stop
from sozu_trio.errors import ChannelError, OperatorError
from sozu_trio.nursery.bind import bound_address
from sozu_trio.nursery.door import doors_in, knock, owner_of, remove_door
from sozu_trio.nursery.exit_status import ended_with
from sozu_trio.nursery.orphan import Held
from sozu_trio.nursery.post import Spawned
from sozu_trio.nursery.tally import SECRET
from sozu_trio.nursery.where import where
from sozu_trio.routing.state import ListenerKey

log = logging.getLogger(__name__)

OF_SANDBOX: Final = ("sandbox", "sandbox_violation", "user", "group")
OF_WORKERS: Final = (
    *("shutdown_timeout", "orphan_timeout"),
    *("access_logs_format", "log_colored"),
    *OF_SANDBOX,
)
"""Settings of Program that a worker follows as they were when it began."""

_SECRET: Final = re.compile(rf"[0-9a-f]{{{2 * SECRET}}}")


@dataclass(slots=True, eq=False)
class _Told:
    """What a worker says of itself, as far as it has."""

    known: Collection[tuple[int, ListenerKey]] = ()
    """Sockets that main has already."""
    keys: dict[tuple[int, ListenerKey], None] = field(default_factory=dict)
    """All it holds; `held`: those of them main has not."""
    held: list[Held] = field(default_factory=list)
    adopted: Adopted | None = None
    place: int = -1

    def descriptors(self) -> list[int]:
        """Those of Adopted, as far as it has come."""
        return [self.place] if self.place >= 0 else []


class Orphan:
    """An adopted worker, a Found of `nursery/post.py`. Close it in the end."""

    def __init__(self, door: Path, channel: Channel[Report], pid: int, pidfd: int, told: _Told) -> None:
        assert told.adopted is not None
        self.worker_id = told.adopted.worker_id
        self.leaving = told.adopted.leaving
        """It has handed over to a successor, and only drains."""
        self.seconds_left = told.adopted.seconds_left
        self.program: Program = told.adopted.program
        """What it began with."""
        self.pid = pid
        self.channel = channel
        self.listening = {key for owner, key in told.keys if owner == self.worker_id}
        self.lent = [(owner, key) for owner, key in told.keys if owner != self.worker_id]
        """What it accepts on for others."""
        self._held = told.held
        self.generation: int | None = None
        self.is_spared = False
        """It is not killed as long as the image of main before may go on, which OperatorError makes it do."""
        self.given_up = False
        """It is killed when `stay` is cancelled; else it serves on then, for a later main: whatever keeps this one from
        going on is no reason to lose sessions.
        """
        self._door = door
        self.secret = bytes.fromhex(told.adopted.secret)
        self._pidfd = pidfd
        self._place = told.place

    async def stay(self, *, task_status: trio.TaskStatus[Spawned]) -> None:
        """Until it has ended. Raises OperatorError for one that is to be given up, but spared."""
        try:
            task_status.started(Spawned(self.pid, partial(where, self._tell, self._place)))
            await trio.lowlevel.wait_readable(self._pidfd)
            self._reap()
            remove_door(self._door)
        except trio.Cancelled:
            if self.given_up:
                if self.is_spared:
                    raise OperatorError(f"worker {self.worker_id} (pid {self.pid}) cannot be gone on with") from None
                _kill(self._pidfd)
                with trio.CancelScope(shield=True):
                    await trio.lowlevel.wait_readable(self._pidfd)
                self._reap()
                remove_door(self._door)
            raise
        finally:
            self._close_descriptors()

    def _reap(self) -> None:
        """Children of this process are waited for, whichever image of main has started them."""
        with suppress(ChildProcessError):
            ended = os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED | os.WNOHANG)
            if ended is not None and (ended.si_code, ended.si_status) != (os.CLD_EXITED, 0):
                code = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
                log.error("worker %d (pid %d) has ended with %s", self.worker_id, self.pid, ended_with(code))

    def take_sockets(self) -> list[Held]:
        """Its listening sockets, for the caller to close."""
        held, self._held = self._held, []
        return held

    def _tell(self, number: signal.Signals) -> None:
        with suppress(OSError):
            signal.pidfd_send_signal(self._pidfd, number)

    async def dismiss(self, grace: float | None) -> None:
        """Have it stop; its sessions get `grace` seconds, None = as long as they need."""
        with suppress(OSError):
            await self.channel.send(Stop(serial=1, grace=grace))
        remove_door(self._door)
        self.close()

    def close(self) -> None:
        """Its end of whatever nobody has taken over. The worker serves on."""
        self.channel.close()
        for _, _, sock in self.take_sockets():
            sock.close()
        self._close_descriptors()

    def _close_descriptors(self) -> None:
        close_all([each for each in (self._pidfd, self._place) if each >= 0])
        self._pidfd = self._place = -1


def settings_kept(orphan: Orphan, program: Program) -> list[str]:
    """Those of `program` that an adopted worker does not follow, since it began with others."""
    return [name for name in OF_WORKERS if getattr(orphan.program, name) != getattr(program, name)]


def is_sealed_as_required(orphan: Orphan, program: Program) -> bool:
    """Whether it began with the sandbox of `program`, where that requires one."""
    same = all(getattr(orphan.program, name) == getattr(program, name) for name in OF_SANDBOX)
    return same or program.sandbox != "require"


async def find_orphans(
    directory: Path,
    patience: float,
    spared: Collection[int] = (),
    known: Collection[tuple[int, ListenerKey]] = (),
) -> list[Orphan]:
    """Adopt every worker there is a door of in `directory`. One that does not answer within `patience` seconds is
    killed, for connections would wait in its queue for ever; unless its process is among those to be `spared`. Raises
    OperatorError, in groups, when one of these cannot be adopted, or another one for a reason of ours; all serve on
    then. Sockets that are `known` are closed as they come, so that there is room for all.
    """
    found: list[Orphan] = []

    async def find(door: Path) -> None:
        if (orphan := await _adopt_at(door, patience, spared, _Told(known=known))) is not None:
            orphan.is_spared = orphan.pid in spared
            log.info("worker %d (pid %d) is adopted", orphan.worker_id, orphan.pid)
            found.append(orphan)

    async with trio.open_nursery() as nursery:
        for door in doors_in(directory):
            nursery.start_soon(find, door)
    return sorted(found, key=lambda orphan: (orphan.worker_id, not orphan.listening, orphan.pid))


class _Refused(ChannelError):
    """It says why it cannot be adopted, and ends by itself."""


async def _adopt_at(door: Path, patience: float, spared: Collection[int], told: _Told) -> Orphan | None:
    """None where there is nobody, or nobody who can be adopted, which is ended then: it would go on serving by another
    State. Raises OperatorError when the fault is ours, or may be.
    """
    try:
        channel, pid, pidfd = _connect(door)
    except (ConnectionRefusedError, FileNotFoundError, ProcessLookupError) as error:
        log.debug("nobody at %s: %s", door, error)
        remove_door(door)
        return None
    except OSError as error:
        raise _unable(door, error) from error
    try:
        with trio.move_on_after(patience):
            await _hear(channel, told, owner_of(door))
            return Orphan(door, channel, pid, pidfd, told)
        if pid in spared:
            raise _unable(door, ChannelError(f"it does not answer within {patience:g} s"))
        log.error("worker at %s (pid %d) does not answer within %g s: it is killed", door, pid, patience)
        _kill(pidfd)
    except (ChannelError, OSError) as error:
        if pid not in spared and not isinstance(error, DescriptorsLost):
            _part_with(door, pid, pidfd, error)
        else:
            _close(channel, pidfd, told)
            raise _unable(door, error) from error
    except BaseException:
        _close(channel, pidfd, told)
        raise
    remove_door(door)
    _close(channel, pidfd, told)
    return None


def _part_with(door: Path, pid: int, pidfd: int, error: ChannelError | OSError) -> None:
    if isinstance(error, _Refused):
        log.error("worker at %s (pid %d) is not adopted, and stops: %s", door, pid, error)
    else:
        log.error("worker at %s (pid %d) is not adopted, and killed: %s", door, pid, error)
        _kill(pidfd)


def _unable(door: Path, error: Exception) -> OperatorError:
    return OperatorError(f"runtime_directory: the worker at {door} cannot be adopted: {error}")


def _connect(door: Path) -> tuple[Channel[Report], int, int]:
    """A channel to who is behind a door, their process, and a descriptor of that. Raises OSError as `knock` does."""
    sock, pid = knock(door)
    try:
        pidfd = os.pidfd_open(pid)
    except BaseException:
        sock.close()
        raise
    return Channel(sock, REPORTS), pid, pidfd


async def _hear(channel: Channel[Report], told: _Told, worker_id: int) -> None:
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
            close_all(descriptors)
    if report.failure is not None:
        raise _Refused(report.failure)
    if told.adopted is None or told.adopted.worker_id != worker_id:
        raise ChannelError("it does not say who it is")


def _take(report: Report, descriptors: list[int], told: _Told) -> None:
    """What is taken of `descriptors` is out of it then."""
    match report:
        case Holding() if len(report.sockets) == len(descriptors):
            for owner, transport, address in report.sockets:
                _hold(told, owner, (transport, address), _listening(descriptors, address))
        case Adopted() if len(descriptors) == 1 and told.adopted is None and _SECRET.fullmatch(report.secret):
            told.adopted, told.place = report, descriptors.pop()
        case _:
            raise ChannelError(f"{type(report).__name__} with {len(descriptors)} descriptors makes no sense")


def _hold(told: _Told, owner: int, key: ListenerKey, sock: socket.socket) -> None:
    if (owner, key) in told.keys or len(told.keys) >= _most_held():
        sock.close()
        raise ChannelError(
            f"it names its socket {len(told.keys) + 1}, for {key[1]} of worker {owner}, twice or too many"
        )
    told.keys[owner, key] = None
    if (owner, key) in told.known:
        sock.close()
    else:
        told.held.append((owner, key, sock))


def _most_held() -> int:
    """Listening sockets that one worker may have: more would leave no descriptors for those of the others."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return sys.maxsize if limit == resource.RLIM_INFINITY else limit // 2


def _listening(descriptors: list[int], address: Address) -> socket.socket:
    """The first of `descriptors`, which listens at `address`."""
    sock = socket.socket(fileno=descriptors[0])
    del descriptors[0]
    try:
        if not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) or bound_address(sock) != address:
            raise ChannelError(f"its socket for {address} does not listen there")
    except BaseException:
        sock.close()
        raise
    sock.setblocking(False)
    return sock


def _kill(pidfd: int) -> None:
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def _close(channel: Channel[Report], pidfd: int, told: _Told) -> None:
    channel.close()
    os.close(pidfd)
    for _, _, sock in told.held:
        sock.close()
    close_all(told.descriptors())
