"""Room for the next image of main: descriptors, of which a process has only so many."""

import os
import resource
from typing import Final

from sozu_trio.control.channel import MOST_DESCRIPTORS
from sozu_trio.errors import OperatorError
from sozu_trio.nursery.estate import Estate

OF_WORKER: Final = 4
"""What the next image opens for each worker: a channel, another one to hear it out, its process, where it is."""
MARGIN: Final = 64
"""Files that are open for a moment: modules, the journal, control clients."""


def refuse_without_room(estate: Estate) -> None:
    """The next image copies what is left to it, which stays open for the one before. Raises OperatorError where it
    would have more descriptors than it may.
    """
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    copies = len(estate.sockets.descriptors)
    there = len(os.listdir("/proc/self/fd")) - 1  # The one that lists them.
    more = copies + OF_WORKER * len(estate.workers) + min(copies, MOST_DESCRIPTORS) + MARGIN
    if limit != resource.RLIM_INFINITY and there + more > limit:
        raise OperatorError(
            f"main may have {limit} descriptors and has {there} of them; to be replaced it needs {more} more: nothing "
            "has changed; want a higher limit (LimitNOFILE=, ulimit -n) and a stop and a start"
        )
