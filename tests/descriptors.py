"""The descriptors of this process: which it has open, and what it is to get no more."""

import contextlib
import gc
import os
import resource
from collections.abc import Iterator


def open_descriptors() -> frozenset[int]:
    """The numbers of those open now: what a test compares from before and after what it tries.

    What earlier tests left in cycles is collected first: else the collector might close it between two looks.
    """
    gc.collect()
    numbers = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            os.fstat(int(name))
        except OSError:
            continue  # The one that listed them.
        numbers.add(int(name))
    return frozenset(numbers)


@contextlib.contextmanager
def no_descriptor_free() -> Iterator[None]:
    """Those that are open stay so; no other can be had, whatever is closed."""
    with _limit(0):
        yield


@contextlib.contextmanager
def every_descriptor_taken() -> Iterator[None]:
    """As where clients have taken all there were: whoever gives one up can have one."""
    with contextlib.ExitStack() as taken:
        # Above all that are open, gaps among them filled: else some could be given up, and still none be had.
        taken.enter_context(_limit(max(open_descriptors()) + 1))
        with contextlib.suppress(OSError):
            while True:
                taken.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        yield


@contextlib.contextmanager
def _limit(number: int) -> Iterator[None]:
    """No descriptor from `number` on can be had."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (number, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
