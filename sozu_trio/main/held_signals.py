"""Signals that come while main is about to execute other code in its place: the next image obeys them.

What they would have main begin now would end in the middle. And any thread may take a signal for the process, also one
that execve(2) ends a moment later; so no thread takes any by then.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import trio
import trio.lowlevel

SIGNALS: Final = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2})
ALL_THREADS: Final = 1.0
"""Seconds until each thread has had its turn."""
PASSES: Final = 3
"""Of the scheduler, which take a signal from the interpreter to who obeys it."""


class HeldSignals:
    """Those that whoever obeys signals has kept for later."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        """In the order in which they came."""
        self._is_keeping = False

    def keep(self, number: int) -> bool:
        """Whether `number` is kept, and not to be obeyed now."""
        if self._is_keeping:
            self.numbers.append(number)
        return self._is_keeping

    @contextmanager
    def keeping(self) -> Iterator[None]:
        """Keep whatever comes while the body runs; afterwards all of it comes again."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        self._is_keeping = True
        try:
            yield
        finally:
            self._is_keeping = False
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            raise_again(self.numbers)
            self.numbers = []

    async def leave_to_kernel(self) -> None:
        """What comes from here on stays with the kernel, until `keeping` ends; what came before is kept by then."""
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        await _mask_in_all_threads(signal.SIG_BLOCK)
        for _ in range(PASSES):
            await trio.lowlevel.checkpoint()

    async def give_back(self) -> None:
        """After `leave_to_kernel`, where main stays: threads take signals again, as do processes that they start."""
        await _mask_in_all_threads(signal.SIG_UNBLOCK)


def raise_again(numbers: list[int]) -> None:
    """Have them come, once more."""
    for number in numbers:
        os.kill(os.getpid(), number)


async def _mask_in_all_threads(how: int) -> None:
    """Those that Trio keeps for a while take signals as well: each gets a task, and keeps it until all have one."""
    others = threading.active_count() - 1
    if not others:
        return
    barrier = threading.Barrier(others)
    limiter = trio.CapacityLimiter(others)

    def mask() -> None:
        signal.pthread_sigmask(how, SIGNALS)
        try:
            barrier.wait(ALL_THREADS)
        except threading.BrokenBarrierError:
            return

    async with trio.open_nursery() as nursery:
        for _ in range(others):
            nursery.start_soon(lambda: trio.to_thread.run_sync(mask, limiter=limiter))
