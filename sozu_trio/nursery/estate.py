"""What a supervisor leaves to the one of the next image of main: its workers, the sockets they listen on, and what is
known of both. The workers are found at their doors (`nursery/adoption.py`); main's end of each channel is only left so
that no word is lost which a worker has said and nobody has heard.
"""

import contextlib
import os
import socket
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

import trio

from sozu_trio.control.channel import Channel, close_all
from sozu_trio.control.messages import REPORTS, Counted, Lines, Logged, Report
from sozu_trio.errors import ChannelError
from sozu_trio.nursery.own_lines import own_lines
from sozu_trio.nursery.sockets import Left
from sozu_trio.nursery.workers import WorkerHandle
from sozu_trio.telemetry.claims import Claims
from sozu_trio.telemetry.counters import Counters, read_counters


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLeft:
    """`generation`: the one it has confirmed, None where that is not the one in force. `counters` as they travel."""

    pid: int
    generation: int | None
    channel: int
    counters: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Estate:
    """`past`: what workers that are no more have counted, as it travels. `beginning`: processes of those that have not
    begun to work; they end.
    """

    generation: int
    worker_count: int
    workers: list[WorkerLeft]
    past: tuple[int, ...]
    sockets: Left
    beginning: list[int] = field(default_factory=list)

    @property
    def descriptors(self) -> list[int]:
        """All that must stay open."""
        return [*(worker.channel for worker in self.workers), *self.sockets.descriptors]

    def generation_of(self, pid: int) -> int | None:
        """The generation that a worker serves by, as far as that is known."""
        return next((worker.generation for worker in self.workers if worker.pid == pid), None)


def left_by(workers: Iterable[WorkerHandle], past: Counters, generation: int) -> tuple[list[WorkerLeft], Counters]:
    """The living of `workers`, and what the others have counted, those of `past` among them.

    `generation`: that in force.
    """
    ended, left = Counters(), []
    ended.add(past)
    for worker in workers:
        if worker.over:
            ended.add(worker.counters)
            continue
        confirmed = generation if worker.generation == generation and not worker.uncut else None
        numbers = worker.counters.numbers()
        left.append(WorkerLeft(pid=worker.pid, generation=confirmed, channel=worker.descriptor, counters=numbers))
    return left, ended


async def hear_out(estate: Estate) -> tuple[list[Report], Estate]:
    """What workers have said to the supervisor before, and the estate with what they have counted since. They are told
    by the end of the channel that it is gone.
    """
    heard: list[Report] = []
    workers: list[WorkerLeft] = []
    for worker in estate.workers:
        sock = socket.socket(fileno=os.dup(worker.channel))
        sock.setblocking(False)
        channel = Channel(sock, REPORTS)
        with contextlib.closing(channel), contextlib.suppress(ChannelError, OSError):
            sock.shutdown(socket.SHUT_RDWR)
            while (received := await channel.receive()) is not None:
                close_all(received[1])
                heard.append(_fit(received[0], worker.pid))
                worker = _counted(worker, received[0])
        workers.append(worker)
    return heard, replace(estate, workers=workers)


def _fit(report: Report, pid: int) -> Report:
    """Raises ChannelError for lines that are not the worker's own."""
    return own_lines(report, Claims(None, pid)) if isinstance(report, Lines | Logged) else report


def _counted(worker: WorkerLeft, report: Report) -> WorkerLeft:
    """With what it has counted, if it says so; what makes no sense is left out."""
    with contextlib.suppress(ValueError):
        if isinstance(report, Counted):
            return replace(worker, counters=read_counters(report.counters).numbers())
    return worker


async def reap_left(estate: Estate, found: Collection[int]) -> None:
    """Wait for the children of the image before that are not among those `found`: they end, or have ended."""
    async with trio.open_nursery() as waiting:
        for pid in (*(worker.pid for worker in estate.workers), *estate.beginning):
            if pid not in found:
                waiting.start_soon(_reap, pid)


async def _reap(pid: int) -> None:
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await trio.lowlevel.wait_readable(pidfd)
        with contextlib.suppress(ChildProcessError):
            os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)  # noqa: ASYNC222 - it has ended
    finally:
        trio.lowlevel.notify_closing(pidfd)
        os.close(pidfd)
