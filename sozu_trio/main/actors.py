"""Who asks for a change: a client of the control socket, or main itself when a signal or its start says so."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """What the kernel says of a process, as audit log and history keep it."""

    uid: int
    pid: int
    process: str


def ourselves(why: str) -> Actor:
    """Main, moved by `why`: a signal's name, or `start`."""
    return Actor(uid=os.getuid(), pid=os.getpid(), process=why)
