"""The system calls a worker may make, and with which arguments: everything else is refused.

Found by running the end-to-end tests with every other call forbidden. A rule is the name of a call and conditions on
its arguments, which all must hold; several rules of one call are alternatives. Calls that an architecture does not have
are passed over.
"""

import fcntl
import mmap
import os
import socket
import termios
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

FIONBIO: Final = 0x5421
CLONE_THREAD: Final = 0x10000
CLONE_OTHERWISE: Final = 0x7E024000 | 0x80
"""New namespaces, vfork(2), and the time namespace."""
AT_EMPTY_PATH: Final = 0x1000
PR_SET_NAME: Final = 15
SOCKET_TYPE: Final = 0xF
"""Without the flags that are or'ed to the type."""
WRITING: Final = os.O_ACCMODE | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_TMPFILE & ~os.O_DIRECTORY | os.O_PATH


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Argument number `argument`, and'ed with `mask`, is `value`."""

    argument: int
    value: int
    mask: int | None = None


Rule = tuple[str, tuple[Where, ...]]

FREE: Final = (
    *("read", "readv", "pread64", "preadv", "write", "writev", "pwrite64", "lseek", "close", "fstat", "getdents64"),
    *("pipe2", "splice", "shutdown", "connect", "accept4", "accept", "getsockname", "getpeername", "getsockopt"),
    *("sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg"),
    *("epoll_create1", "epoll_ctl", "epoll_wait", "epoll_pwait", "epoll_pwait2", "poll", "ppoll"),
    *("munmap", "mremap", "madvise", "brk", "memfd_create", "dup", "dup2", "dup3"),
    *("futex", "set_robust_list", "get_robust_list", "rseq", "membarrier", "sched_yield", "sched_getaffinity"),
    *("rt_sigaction", "rt_sigprocmask", "rt_sigreturn", "sigaltstack", "restart_syscall"),
    *("clock_gettime", "clock_getres", "clock_nanosleep", "nanosleep", "gettimeofday", "time"),
    *("getpid", "getppid", "gettid", "getuid", "geteuid", "getgid", "getegid", "getrandom", "getrusage", "times"),
    *("uname", "sysinfo", "exit", "exit_group"),
)

OF_FCNTL: Final = (
    *(fcntl.F_DUPFD_CLOEXEC, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL),
    *(fcntl.F_SETPIPE_SZ, fcntl.F_GETPIPE_SZ, fcntl.F_ADD_SEALS, fcntl.F_GET_SEALS),
)
"""Not F_SETOWN, which has the kernel send signals, nor F_SETFL: whoever may only append could write anywhere then."""
OF_IOCTL: Final = (FIONBIO, termios.FIOCLEX, termios.FIONCLEX)
OPTIONS: Final = (
    *((socket.SOL_SOCKET, each) for each in (socket.SO_LINGER, socket.SO_SNDBUF, socket.SO_RCVBUF)),
    *((socket.SOL_SOCKET, each) for each in (socket.SO_KEEPALIVE, socket.SO_RCVLOWAT)),
    *((socket.IPPROTO_TCP, each) for each in (socket.TCP_NODELAY, socket.TCP_NOTSENT_LOWAT, socket.TCP_QUICKACK)),
    *((socket.IPPROTO_TCP, each) for each in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)),
    *((socket.IPPROTO_TCP, each) for each in (socket.TCP_USER_TIMEOUT, socket.TCP_CORK)),
)

MISSING: Final = ("clone3",)
"""Said not to exist, so that libc takes the older call, whose flags can be looked at."""
TRIED: Final = (
    *((name, ()) for name in ("stat", "lstat", "statx", "readlink", "readlinkat", "getcwd", "access", "faccessat")),
    ("newfstatat", (Where(argument=3, value=0, mask=AT_EMPTY_PATH),)),
    ("ioctl", (Where(argument=1, value=termios.TCGETS),)),
)
"""Python and libc try these and do without them: refused, and not killed for."""


OF_KEY_LOG: Final[tuple[Rule, ...]] = (
    ("openat", (Where(argument=2, value=os.O_WRONLY | os.O_CREAT | os.O_APPEND, mask=WRITING),)),
    ("ftruncate", ()),
)
"""OpenSSL writes secrets to a path and nowhere else: to that of a memfd here. Other files are Landlock's to forbid."""


def allowed(pid: int) -> Iterator[Rule]:
    """All rules for the process `pid`."""
    yield from ((name, ()) for name in FREE)
    yield from (("fcntl", (Where(argument=1, value=command),)) for command in OF_FCNTL)
    yield from (("ioctl", (Where(argument=1, value=request),)) for request in OF_IOCTL)
    yield from (
        ("setsockopt", (Where(argument=1, value=level), Where(argument=2, value=option))) for level, option in OPTIONS
    )
    yield from _sockets()
    # A certificate is loaded from a memfd under /proc/self/fd. Other files are Landlock's to forbid.
    yield "openat", (Where(argument=2, value=os.O_RDONLY, mask=WRITING),)
    yield "newfstatat", (Where(argument=3, value=AT_EMPTY_PATH, mask=AT_EMPTY_PATH),)
    for name in ("mmap", "mprotect"):
        yield name, (Where(argument=2, value=0, mask=mmap.PROT_EXEC),)
    yield "clone", (Where(argument=0, value=CLONE_THREAD, mask=CLONE_THREAD | CLONE_OTHERWISE),)
    yield "prlimit64", (Where(argument=0, value=0), Where(argument=2, value=0))
    yield "prctl", (Where(argument=0, value=PR_SET_NAME),)
    yield "tgkill", (Where(argument=0, value=pid),)


def _sockets() -> Iterator[Rule]:
    """TCP towards backends; a pair, which Trio wakes itself with, and which cannot be connected elsewhere."""
    for family in (socket.AF_INET, socket.AF_INET6):
        for protocol in (0, socket.IPPROTO_TCP):
            yield "socket", (*_stream(family), Where(argument=2, value=protocol))
    yield "socketpair", (*_stream(socket.AF_UNIX), Where(argument=2, value=0))


def _stream(family: int) -> tuple[Where, ...]:
    return Where(argument=0, value=family), Where(argument=1, value=socket.SOCK_STREAM, mask=SOCKET_TYPE)
