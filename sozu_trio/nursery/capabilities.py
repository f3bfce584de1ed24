"""Capabilities of this process, capabilities(7): root's rights, one by one.

Python has no calls for them, so libc is called. What is taken off cannot be had again: not by this process, and with
the bounding set emptied not by a program it becomes.
"""

import ctypes  # Trio imports it as well.
import os
from collections.abc import Collection
from pathlib import Path
from typing import Final

KILL: Final = 5
SETGID: Final = 6
SETUID: Final = 7
SETPCAP: Final = 8
NET_BIND_SERVICE: Final = 10

_VERSION: Final = 0x20080522
_PR_CAPBSET_READ: Final = 23
_PR_CAPBSET_DROP: Final = 24
_MOST: Final = 64

libc: Final = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Set(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def prctl(option: int, *arguments: int) -> int:
    """prctl(2); what is missing of `arguments` is 0. Raises OSError."""
    four = [ctypes.c_ulong(each) for each in (*arguments, 0, 0, 0, 0)[:4]]
    result: int = libc.prctl(option, *four)
    if result < 0:
        raise last_error()
    return result


def last_error() -> OSError:
    """What the last call into libc that failed has left."""
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))


def held() -> frozenset[int]:
    """Those this process may use, or may take up. Raises OSError."""
    lower, upper = _sets()
    numbers = lower.permitted | upper.permitted << 32
    return frozenset(each for each in range(_MOST) if numbers >> each & 1)


def bounding() -> frozenset[int]:
    """Those that a program which this process becomes may have."""
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    return frozenset(each for each in range(last + 1) if prctl(_PR_CAPBSET_READ, each))


def limit_to(wanted: Collection[int]) -> None:
    """No program that this process becomes is to have others, where this process has a say in it. Raises OSError."""
    if SETPCAP in held():
        for each in bounding().difference(wanted):
            prctl(_PR_CAPBSET_DROP, each)


def keep_only(wanted: Collection[int]) -> None:
    """Give up all others, and with them those that a program it becomes would inherit. Raises OSError."""
    sets = _sets()
    number = sum(1 << each for each in wanted)
    for half, bits in zip(sets, (number & 0xFFFFFFFF, number >> 32), strict=True):
        half.permitted &= bits
        half.effective &= bits
        half.inheritable &= bits
    if libc.capset(ctypes.byref(_Header(_VERSION, 0)), sets) < 0:
        raise last_error()


def _sets() -> "ctypes.Array[_Set]":
    """Those of this process: the lower half of the bits, and the upper one."""
    sets = (_Set * 2)()
    if libc.capget(ctypes.byref(_Header(_VERSION, 0)), sets) < 0:
        raise last_error()
    return sets
