"""Children of others, left to main where it is process 1 of a container, or stands in for that (prctl(2),
PR_SET_CHILD_SUBREAPER): whoever dies as such a child stays in the process table until main has reaped it.

Main must not reap its own that way: who waits for one would learn nothing of how it ended. So nothing is taken before
it has been looked at (WNOWAIT), and nothing that somebody here waits for: whoever waits for a child of ours holds a
pidfd of it, as Trio does, or sits in waitpid(2) and is faster than `SETTLING`.
"""

import contextlib
import ctypes  # Trio imports it as well.
import logging
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import trio

log = logging.getLogger(__name__)

SETTLING: Final = 1.0
"""Seconds a dead child is left to whoever may have started it."""
PR_GET_CHILD_SUBREAPER: Final = 37


def inherits_children() -> bool:
    """Whether children of others become those of this process when their parents die."""
    if os.getpid() == 1:
        return True
    found = ctypes.c_int()
    libc = ctypes.CDLL(None, use_errno=True)
    return libc.prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(found), 0, 0, 0) == 0 and bool(found.value)


async def reap_strangers(*, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
    """Reap what nobody here waits for, those that have died before included, until cancelled."""
    with trio.open_signal_receiver(signal.SIGCHLD) as deaths:
        task_status.started()
        while True:
            while dead := _dead_children():
                await trio.sleep(SETTLING)
                for pid in dead - _waited_for():
                    _reap(pid)
            await anext(aiter(deaths))


def _reap(pid: int) -> None:
    with contextlib.suppress(ChildProcessError):  # who waited for it was quicker
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)
        log.debug("process %d, started by another one that is gone, has ended", pid)


def _dead_children() -> set[int]:
    """The ids of children that have died and are not reaped; they stay so."""
    try:
        first = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return set()
    if first is None:
        return set()
    # The kernel would show the others only once this one is reaped, which may be left to somebody else.
    ours = f"Z {os.getpid()} "
    return {first.si_pid, *(pid for pid, fields in _processes() if fields.startswith(ours))}


def _processes() -> Iterator[tuple[int, str]]:
    """The id of every process, and what proc(5) has in `stat` behind its name: state, parent, and so on."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):  # it has gone meanwhile
                yield int(folder.name), (folder / "stat").read_text().rpartition(") ")[2]


def _waited_for() -> set[int]:
    """The ids of all processes of which this one holds a pidfd."""
    found = set()
    for file in Path("/proc/self/fdinfo").iterdir():
        with contextlib.suppress(OSError):  # the descriptor of this look itself
            lines = file.read_text().splitlines()
            found |= {int(line.removeprefix("Pid:")) for line in lines if line.startswith("Pid:")}
    return found
