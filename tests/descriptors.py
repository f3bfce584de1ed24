"""Which descriptors this process has open: what a test compares from before and after what it tries."""

import gc
import os


def open_descriptors() -> frozenset[int]:
    """The numbers of those open now.

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
