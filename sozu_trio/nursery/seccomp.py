"""seccomp(2) through libseccomp: the kernel refuses this process whatever does not stand in `system_calls.py`.

Without libseccomp, or its binding, there is no such layer, and that is said; nothing else depends on it.
"""

import contextlib
import ctypes.util
import errno
import os
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

from sozu_trio.nursery.system_calls import MISSING, OF_KEY_LOG, TRIED, Where, allowed

LIBRARIES: Final = {"seccomp": "libseccomp.so.2"}
"""What the loader knows it by. The C library needs none: whatever this process has loaded is asked for that."""


@contextlib.contextmanager
def _found_by_the_loader() -> Iterator[None]:
    """The binding asks `ctypes.util.find_library`, which runs ldconfig(8), or compilers where that is not there: 10 ms
    of each start, and children of main, which imports this in a thread for `kept_code.py`.
    """
    find = ctypes.util.find_library
    ctypes.util.find_library = lambda name: LIBRARIES.get(name)
    try:
        yield
    finally:
        ctypes.util.find_library = find


seccomp: ModuleType | None
why_not = ""
try:
    # It opens the library, so it cannot wait until it is needed.
    with _found_by_the_loader():
        import pyseccomp
except (ImportError, RuntimeError, OSError) as error:
    seccomp, why_not = None, f"libseccomp cannot be loaded: {error}"
else:
    seccomp = pyseccomp

LAST: Final = 600
"""Beyond all numbers that the kernel has by now."""
BINARY_TREE: Final = 2
"""Of CTL_OPTIMIZE: the numbers are looked up, not compared one by one."""


def filter_calls(*, kill: bool, key_log: bool = False) -> str:
    """Have the kernel refuse this process, all its threads, every call that is not allowed, with an error, or kill it
    for that. `key_log`: it keeps one. Returns what is in force. Raises OSError.
    """
    if seccomp is None:
        raise OSError(errno.ENOPKG, why_not)
    refusal = seccomp.KILL_PROCESS if kill else seccomp.ERRNO(errno.EPERM)
    made = seccomp.SyscallFilter(refusal)
    made.set_attr(seccomp.Attr.CTL_TSYNC, 1)
    # Else a call of another architecture, or of x32, would kill whatever `refusal` says.
    made.set_attr(seccomp.Attr.ACT_BADARCH, refusal)
    for attribute, value in ((seccomp.Attr.CTL_OPTIMIZE, BINARY_TREE), (seccomp.Attr.CTL_SSB, 1)):
        # Only speed, and only some versions of the library know them.
        with contextlib.suppress(OSError):
            made.set_attr(attribute, value)
    for rule in (*allowed(os.getpid()), *(OF_KEY_LOG if key_log else ())):
        _add(made, seccomp.ALLOW, rule)
    if kill:
        for rule in TRIED:
            _add(made, seccomp.ERRNO(errno.EPERM), rule)
    missing: list[str | int] = [*MISSING, *_unknown()]
    for call in missing:
        _add(made, seccomp.ERRNO(errno.ENOSYS), (call, ()))
    made.load()
    return "seccomp (kill)" if kill else "seccomp"


def _unknown() -> Iterator[int]:
    """Numbers of calls that are newer than the library: whoever tries them is used to older kernels."""
    assert seccomp is not None
    for number in range(LAST):
        try:
            seccomp.resolve_syscall(seccomp.Arch.NATIVE, number)
        except ValueError:
            yield number


def _add(made: Any, action: int, rule: tuple[str | int, tuple[Where, ...]]) -> None:
    """Raises OSError."""
    assert seccomp is not None
    call, conditions = rule
    if isinstance(call, str):
        call = seccomp.resolve_syscall(seccomp.Arch.NATIVE, call)
        if call < 0:
            return  # not one of this architecture
    made.add_rule(action, call, *map(_argument, conditions))


def _argument(where: Where) -> Any:
    assert seccomp is not None
    if where.mask is None:
        return seccomp.Arg(where.argument, seccomp.EQ, where.value)
    return seccomp.Arg(where.argument, seccomp.MASKED_EQ, where.mask, where.value)
