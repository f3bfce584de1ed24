"""How many descriptors a worker may have: all there are but some, which are main's.

The kernel counts descriptors on their way in unix sockets by user, and refuses to send more where there are more of
them than the sender may have open (ETOOMANYREFS). A worker that an attacker has taken over can have as many on the way
as it may have open, for good. Main has to be able to send some then: sockets to the next worker.
"""

import resource
from typing import Final

OF_MAIN: Final = 1024
"""More than two messages' worth (253 each), so that whoever fills up cannot reach main's limit by the last of them."""


def limit_descriptors() -> None:
    """Have this process have as many as a worker may, and never more."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = most_of_worker(hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def most_of_worker(most: int) -> int:
    """How many a worker may have where main may have `most`."""
    if most == resource.RLIM_INFINITY:
        return most
    return most - min(OF_MAIN, most // 4)
