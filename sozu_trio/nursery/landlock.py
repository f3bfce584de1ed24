"""Landlock, landlock(7): a process forbids itself files, without any rights of its own.

Everything the kernel's version can forbid is forbidden and nothing is allowed again: no file is opened, read, made,
changed or executed, no TCP port bound, no signal sent to and no abstract socket used of a process outside. It does not
cover connecting to a unix socket by its path, `stat`, or sockets of other kinds: that is seccomp's part. What is open
already stays so, as do files without a path: memfds, also under /proc/self/fd.
"""

import ctypes  # Trio imports it as well.
import errno
import os
from typing import Final

from sozu_trio.nursery.capabilities import last_error, libc

_CREATE_RULESET: Final = 444
_RESTRICT_SELF: Final = 446
"""The same on every architecture."""
_ASK_VERSION: Final = 1

_FILES: Final = ((1, 13), (2, 14), (3, 15), (5, 16))
"""Since which version how many rights on files there are; they are bits from the first on."""
_BIND_TCP: Final = 1
_CONNECT_OUT: Final = 0b11
"""To abstract sockets, and signals, of processes outside."""
_BIND_SINCE: Final = 4
_SCOPES_SINCE: Final = 6


class _Attributes(ctypes.Structure):
    _fields_ = (("files", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scopes", ctypes.c_uint64))


def version() -> int:
    """Of the kernel's Landlock. Raises OSError with what is wrong where there is none."""
    found: int = libc.syscall(ctypes.c_long(_CREATE_RULESET), None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))
    if found < 0:
        error = last_error()
        why = {errno.ENOSYS: "the kernel has none", errno.EOPNOTSUPP: "it is switched off (lsm= of the kernel)"}
        raise OSError(error.errno, why.get(error.errno or 0, str(error.strerror)))
    return found


def restrict_files() -> str:
    """Forbid this thread, and those it starts, everything. Returns what is in force. Raises OSError."""
    found = version()
    ruleset = _ruleset(found)
    try:
        if libc.syscall(ctypes.c_long(_RESTRICT_SELF), ctypes.c_int(ruleset), ctypes.c_uint32(0)) < 0:
            raise last_error()
    finally:
        os.close(ruleset)
    return f"landlock {found}"


def _ruleset(found: int) -> int:
    """The descriptor of one without a rule."""
    attributes = _Attributes(
        files=(1 << max(bits for since, bits in _FILES if since <= found)) - 1,
        net=_BIND_TCP if found >= _BIND_SINCE else 0,
        scopes=_CONNECT_OUT if found >= _SCOPES_SINCE else 0,
    )
    # An older kernel refuses members it does not know unless they are 0, and then only looks at that.
    size = ctypes.c_size_t(ctypes.sizeof(attributes))
    ruleset: int = libc.syscall(ctypes.c_long(_CREATE_RULESET), ctypes.byref(attributes), size, ctypes.c_uint32(0))
    if ruleset < 0:
        raise last_error()
    return ruleset
