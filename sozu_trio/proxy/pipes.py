"""Pipes for splice(2), from a small stock.

An unprivileged user gets 64 pipes of 1 MiB, all processes together, then 8 KiB ones (pipe-user-pages-soft). So a pipe
is borrowed only while bytes are in it, and who gets none copies.
"""

import contextlib
import fcntl
import os
from dataclasses import dataclass

from sozu_trio.config.limits import SPLICE_PIPES

PIPE_SIZE = 1 << 20
"""Bytes asked for: 2.5 ms of CPU per 10 MiB (docs/performance.md)."""
SMALLEST_PIPE = 65536
"""Bytes below which splicing costs more than copying."""
KEPT = 8
MOST = SPLICE_PIPES


@dataclass(slots=True)
class Pipe:
    """An empty or filled pipe; `size` is what it holds."""

    out: int
    into: int
    size: int

    def close(self) -> None:
        os.close(self.out)
        os.close(self.into)


class PipeStock:
    """Lends pipes; a pipe comes back empty or is closed."""

    __slots__ = ("_kept", "lent")

    def __init__(self) -> None:
        self._kept: list[Pipe] = []
        self.lent = 0

    def borrow(self) -> Pipe | None:
        """A pipe, or None when there are enough of them or the kernel gives no useful one."""
        if self._kept:
            self.lent += 1
            return self._kept.pop()
        if self.lent >= MOST:
            return None
        try:
            pipe = _open_pipe()
        except OSError:
            return None
        if pipe.size < SMALLEST_PIPE:
            pipe.close()
            return None
        self.lent += 1
        return pipe

    def give_back(self, pipe: Pipe, *, empty: bool) -> None:
        self.lent -= 1
        if empty and len(self._kept) < KEPT:
            self._kept.append(pipe)
        else:
            pipe.close()

    def close(self) -> int:
        """Close those nobody uses; returns how many descriptors that freed."""
        freed = 2 * len(self._kept)
        while self._kept:
            self._kept.pop().close()
        return freed


def _open_pipe() -> Pipe:
    out, into = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    with contextlib.suppress(OSError):
        fcntl.fcntl(into, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
    return Pipe(out, into, fcntl.fcntl(into, fcntl.F_GETPIPE_SZ))
