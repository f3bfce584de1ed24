"""What one request makes the proxy do, counted in this process: calls, steps of tasks, bytes.

Requests come one after the other, in lockstep with the loop. So all counts are the same in every run, but for what
timers do in between and what hangs on chance; the median of REQUESTS leaves that out.
"""

import collections
import contextlib
import gc
import statistics
import sys
import threading
import tracemalloc
import unittest.mock
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import trio

from benchmarks.failures import leaves
from benchmarks.lockstep import World, open_world
from benchmarks.measure import WrongAnswer
from sozu_trio.telemetry import lines

WARM_UP, REQUESTS = 20, 61
SYSTEM_CALLS = frozenset(
    {
        *("socket._accept", "socket.bind", "socket.close", "socket.connect", "socket.connect_ex", "socket.getpeername"),
        *(
            "socket.getsockname",
            "socket.getsockopt",
            "socket.listen",
            "socket.recv",
            "socket.recv_into",
            "socket.recvmsg",
        ),
        *("socket.send", "socket.sendall", "socket.sendmsg", "socket.setblocking", "socket.setsockopt"),
        *("socket.shutdown", "_socket.socketpair", "_SSLSocket.read", "_SSLSocket.write", "_SSLSocket.do_handshake"),
        *("_SSLSocket.shutdown", "epoll.poll", "epoll.modify", "epoll.register", "epoll.unregister", "poll.poll"),
        *("posix.read", "posix.write", "posix.writev", "posix.splice", "posix.pipe2", "posix.close", "posix.stat"),
        *("posix.open", "posix.fstat", "fcntl.fcntl", "fcntl.ioctl", "time.sleep"),
    }
)
"""Functions in C that enter the kernel, most of them once; one of TLS may more often."""
OWN = (__file__, str(Path(trio.__file__).parent / "_core" / "_instrumentation.py"))
"""Files whose calls are those of the counting itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Of one request: functions of Python that were called and functions in C, those of them that enter the kernel;
    runs of a task until it had to wait; rounds of the loop; bytes allocated at most beyond what there was before.
    """

    python_calls: float
    builtin_calls: float
    system_calls: float
    steps: float
    passes: float
    peak_bytes: float


@dataclass(slots=True)
class Tally:
    """What has happened since it was taken last."""

    python_calls: int = 0
    builtin_calls: collections.Counter[str] = field(default_factory=collections.Counter)
    steps: int = 0
    passes: int = 0


class Watch(trio.abc.Instrument):
    """Tells whether the loop sleeps, and counts."""

    def __init__(self) -> None:
        self.asleep = threading.Event()
        self._tally = Tally()

    def before_io_wait(self, timeout: float) -> None:
        if timeout > 0:
            self.asleep.set()

    def after_io_wait(self, timeout: float) -> None:
        self.asleep.clear()
        self._tally.passes += 1

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._tally.steps += 1

    def profile(self, frame: FrameType, event: str, argument: Any) -> None:
        """For `sys.setprofile`."""
        if frame.f_code.co_filename in OWN:
            return
        if event == "call":
            self._tally.python_calls += 1
        elif event == "c_call":
            self._tally.builtin_calls[name_of(argument)] += 1

    def take(self) -> Tally:
        """What has been counted; from now on the next."""
        taken, self._tally = self._tally, Tally()
        return taken


def name_of(function: Any) -> str:
    """`socket.recv` of a method, `posix.read` of a function."""
    return function.__qualname__ if "." in function.__qualname__ else f"{function.__module__}.{function.__qualname__}"


def count(kind: str) -> tuple[Counts, dict[str, float]]:
    """Of a request of that kind (lockstep.KINDS), and its system calls by name. Raises WrongAnswer."""
    watch = Watch()

    async def counted() -> tuple[list[Tally], list[int]]:
        async with open_world(kind, watch.asleep) as world:
            return await trio.to_thread.run_sync(observe, world, watch)

    try:
        with undisturbed():
            tallies, peaks = trio.run(counted, instruments=[watch])
    except ExceptionGroup as group:
        if not all(isinstance(error, OSError | WrongAnswer) for error in leaves(group)):
            raise
        raise WrongAnswer("; ".join(map(repr, leaves(group)))) from group
    return summed_up(tallies, peaks)


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """No garbage is collected meanwhile: when it is hangs on all that ran before. And each request pays for its own
    access line: else one in many would for all of them.
    """
    gc.disable()
    try:
        with unittest.mock.patch.object(lines, "TOGETHER", 1):
            yield
    finally:
        gc.enable()


def observe(world: World, watch: Watch) -> tuple[list[Tally], list[int]]:
    """What each of REQUESTS did, then the bytes that each of as many others took; to be run in a thread."""
    for _ in range(WARM_UP):
        world.ask()
    trio.from_thread.run_sync(sys.setprofile, watch.profile)
    try:
        tallies = [tallied(world, watch) for _ in range(REQUESTS + 1)][1:]  # the first has what came before it
    finally:
        trio.from_thread.run_sync(sys.setprofile, None)
    tracemalloc.start()
    try:
        return tallies, [peak(world) for _ in range(REQUESTS)]
    finally:
        tracemalloc.stop()


def tallied(world: World, watch: Watch) -> Tally:
    world.ask()
    return watch.take()


def peak(world: World) -> int:
    """Bytes."""
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    world.ask()
    return tracemalloc.get_traced_memory()[1] - before


def summed_up(tallies: Sequence[Tally], peaks: Sequence[int]) -> tuple[Counts, dict[str, float]]:
    """Medians."""

    calls = [tally.builtin_calls for tally in tallies]
    system_calls = {name: statistics.median(each[name] for each in calls) for name in sorted(SYSTEM_CALLS)}
    counts = Counts(
        python_calls=statistics.median(tally.python_calls for tally in tallies),
        builtin_calls=statistics.median(each.total() for each in calls),
        system_calls=sum(system_calls.values()),
        steps=statistics.median(tally.steps for tally in tallies),
        passes=statistics.median(tally.passes for tally in tallies),
        peak_bytes=statistics.median(peaks),
    )
    return counts, {name: number for name, number in system_calls.items() if number}
