"""What `test_held_signals.py` runs in a process of its own: its name is the argument."""

import os
import signal
import sys
import threading
from collections.abc import AsyncIterator, Callable
from functools import partial

import trio

from sozu_trio.main.held_signals import SIGNALS, HeldSignals


def mask() -> set[int]:
    """Of this thread."""
    return {int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])}


async def kept() -> None:
    """What comes is kept, and comes again."""
    held = HeldSignals()
    taken: list[int] = []
    enough = trio.Event()

    async def obey(signals: AsyncIterator[int]) -> None:
        async for number in signals:
            if held.keep(number):
                continue
            taken.append(number)
            if len(taken) == 2:
                enough.set()

    with trio.open_signal_receiver(signal.SIGHUP, signal.SIGUSR1) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(obey, signals)
            with held.keeping():
                os.kill(os.getpid(), signal.SIGHUP)
                await held.leave_to_kernel()
                assert held.numbers == [signal.SIGHUP]
                os.kill(os.getpid(), signal.SIGUSR1)
                assert signal.SIGUSR1 in signal.sigpending()
                await held.give_back()
            assert held.numbers == []
            with trio.fail_after(10):
                await enough.wait()
            assert sorted(taken) == sorted([signal.SIGHUP, signal.SIGUSR1])
            nursery.cancel_scope.cancel()


async def threads() -> None:
    """No thread takes any."""
    before = mask()
    held = HeldSignals()
    masks: list[set[int]] = []

    async def in_three_threads(do: Callable[[], object]) -> None:
        barrier = threading.Barrier(3)

        def wait_and_do() -> None:
            barrier.wait()
            do()

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(partial(trio.to_thread.run_sync, wait_and_do))

    # Trio keeps them afterwards.
    await in_three_threads(mask)
    with held.keeping():
        await held.leave_to_kernel()
        await in_three_threads(lambda: masks.append(mask()))
        assert all(found >= SIGNALS for found in (mask(), *masks))
        await held.give_back()
        await in_three_threads(lambda: masks.append(mask()))
    assert masks[3:] == [before] * 3
    assert mask() == before


if __name__ == "__main__":
    trio.run({"kept": kept, "threads": threads}[sys.argv[1]])
