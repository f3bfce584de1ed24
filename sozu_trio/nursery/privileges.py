"""What a worker gives up by itself: another user, supplementary groups, capabilities, being traced, core dumps, and
ever getting more.
"""

import os
import resource
from typing import Final

from sozu_trio.nursery import capabilities
from sozu_trio.nursery.capabilities import prctl
from sozu_trio.nursery.identity import Identity

PR_SET_DUMPABLE: Final = 4
PR_SET_NO_NEW_PRIVS: Final = 38


def become(identity: Identity) -> None:
    """Be that user, with no other group, and for good. Raises OSError."""
    capabilities.limit_to(())
    os.setgroups([])
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)


def give_up_capabilities() -> None:
    """All there are, and the groups beside the first. Raises OSError."""
    if capabilities.SETGID in capabilities.held():
        os.setgroups([])
    capabilities.limit_to(())
    capabilities.keep_only(())


def forbid_new_privileges() -> None:
    """No program it became could have more rights; Landlock and seccomp ask for that. No other process may look into
    this one or trace it, and a crash writes nothing down: keys of certificates are in its memory. Raises OSError.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    prctl(PR_SET_DUMPABLE, 0)
    prctl(PR_SET_NO_NEW_PRIVS, 1)
