"""How many descriptors a process may have, and what `max_connections` takes of them.

A connection takes two at most, one for each side. What has run out is noticed by everybody at once, so it is counted
beforehand: what does not fit is told at the start, not under load.
"""

import resource
from pathlib import Path
from typing import Final

from sozu_trio.config.limits import MAX_CONNECTIONS, SPLICE_PIPES
from sozu_trio.config.program import Settings

BESIDE: Final = 2 * SPLICE_PIPES + 256
"""Descriptors for all else: pipes, listeners, channels, connections kept for reuse (which give way), modules."""
OF_MAIN: Final = 1024
"""Descriptors that main may have beyond a worker's, or a third of those, if that is less. The kernel counts descriptors
on their way in unix sockets by user, and refuses to send more where there are more of them than the sender may have
open (ETOOMANYREFS). A worker that an attacker has taken over can have as many on the way as it may have open, for good,
and main has to be able to send two messages' worth then (253 each): sockets to the next worker.
"""
OF_KERNEL: Final = (Path("/proc/sys/fs/nr_open"), Path("/proc/sys/fs/file-max"))
"""What no process may exceed, and what all of them together may not, whatever their limits (proc(5))."""


def most_descriptors() -> int:
    """How many this process may have once its soft limit is raised."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return min([*([] if hard == resource.RLIM_INFINITY else [hard]), *filter(None, map(_number, OF_KERNEL))])


def descriptors_of_worker() -> int:
    """How many each worker may have that this process starts."""
    return most_of_worker(most_descriptors())


def most_of_worker(most: int) -> int:
    """How many a worker may have where main may have `most`."""
    return most - min(OF_MAIN, most // 4)


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return None


def raise_descriptor_limit() -> None:
    """The soft limit of 1,024 is for programs that use select(2)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = most_descriptors()
    if soft != most:
        # A hard limit beyond nr_open, which is from before that was lowered, may not be set again.
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard if 0 <= hard <= most else most))


def limit_descriptors() -> None:
    """Have this process, a worker, have as many as it may, and never more."""
    most = descriptors_of_worker()
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def need(connections: int) -> int:
    """Descriptors that so many connections take, and all that is beside them."""
    return 2 * connections + BESIDE


def fitting(descriptors: int) -> int:
    """How many connections there may be where nobody says how many: what fits, at least one."""
    return max(1, min(MAX_CONNECTIONS, _room(descriptors)))


def _room(descriptors: int) -> int:
    return max(0, (descriptors - BESIDE) // 2)


def misfit(settings: Settings, descriptors: int) -> str | None:
    """What is wrong with an explicit `max_connections`; None where it fits, and where it is unset."""
    wanted = settings.max_connections
    if wanted is None or need(wanted) <= descriptors:
        return None
    return (
        f"found {wanted}, which takes {need(wanted)} descriptors of a process that may have {descriptors}; want at "
        f"most {_room(descriptors)}, or a higher limit (LimitNOFILE=, ulimit -n)"
    )


def lowered(settings: Settings, descriptors: int) -> str | None:
    """What to say of an unset `max_connections` that is lowered to fit; None where it is not."""
    if settings.max_connections is not None or need(MAX_CONNECTIONS) <= descriptors:
        return None
    return (
        f"not set: {fitting(descriptors)} instead of {MAX_CONNECTIONS}, which takes {need(MAX_CONNECTIONS)} "
        f"descriptors of a process that may have {descriptors} (LimitNOFILE=, ulimit -n)"
    )
