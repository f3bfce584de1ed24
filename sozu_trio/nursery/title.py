"""What `ps` and `top` call a process, without a library.

`ps` shows the memory that the kernel laid the arguments out in, so a title is written there. Right behind it lies the
environment, which OpenSSL and libc read; so a process that is to have a title is given one long argument (`ROOM`), and
no title is longer than the arguments were. `top` shows the name of the thread. Neither is worth an error: where there
is no /proc, or too little room, the process is called what it was called.

Main keeps its command line: the configuration file in it is what tells two proxies apart, and scripts look for it.
"""

import contextlib
import ctypes  # Trio imports it as well: this costs a worker nothing.
import os
from pathlib import Path
from typing import Final

ROOM: Final = " " * 64
"""An argument that says nothing, with room for every title."""
LONGEST_NAME: Final = 15
"""Bytes that the kernel keeps of a thread's name (TASK_COMM_LEN − 1)."""
ARG_START: Final = 48 - 3
"""Where proc(5) has `arg_start` in /proc/PID/stat, and `arg_end` next to it, counted from behind the name."""


def call_thread(name: str) -> None:
    """Have `top` show `name`, its first 15 bytes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/comm").write_bytes(name.encode()[:LONGEST_NAME])


class Title:
    """The title of this process. Files are only read when it is made, so `show` works in a sandbox, too."""

    def __init__(self) -> None:
        self._start, self._room = _arguments()

    def show(self, title: str) -> None:
        """Have `ps` show `title`, as far as there is room for it; bytes that are no text are written as sys.argv has
        them.
        """
        if self._room > 0:
            # The last byte stays NUL: with another one the kernel takes the environment for a part of the title.
            text = os.fsencode(title)[: self._room - 1]
            ctypes.memmove(self._start, text.ljust(self._room, b"\0"), self._room)


def _arguments() -> tuple[int, int]:
    """The address of this process's arguments and how many bytes they take; 0 where that cannot be known."""
    try:
        _, _, fields = Path("/proc/self/stat").read_text().rpartition(")")
        start, end = map(int, fields.split()[ARG_START : ARG_START + 2])
    except (OSError, ValueError):
        return 0, 0
    return start, end - start
