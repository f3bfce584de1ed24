"""Which of root's rights main keeps: to bind ports below 1024, and to start, replace and end workers of another user.

What it lacks then matters for files: those of others it may not even read, as root does, unless their mode says so.
"""

import os
from typing import Final

from sozu_trio.nursery import capabilities
from sozu_trio.nursery.capabilities import KILL, NET_BIND_SERVICE, SETGID, SETUID

KEPT: Final = frozenset({KILL, NET_BIND_SERVICE, SETGID, SETUID})


def give_up_rights() -> None:
    """Keep only these, also as whatever this process becomes; nothing happens where it is not root, and has been given
    what it has on purpose. Raises OSError.
    """
    if os.geteuid() == 0:
        capabilities.limit_to(KEPT)
        capabilities.keep_only(KEPT)
