"""What somebody tries who runs arbitrary Python inside a worker, and what the worker must still be able to do.

`attempt()` is called in the sandboxed process by `attacked_worker.py`. Nothing can be imported there any more, so all
that is tried with is imported here. An attack that does not fail returns.
"""

import ctypes
import errno
import fcntl
import json
import mmap
import os
import signal
import socket
import ssl
import struct
import sys
import termios
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyseccomp

TARGETS = "SOZU_TRIO_TEST_TARGETS"
"""A JSON object in the environment: file, directory, control, datagrams (paths), victim (a process)."""
REFUSED = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EAFNOSUPPORT, errno.EPROTONOSUPPORT, errno.EISCONN}
X32 = 0x40000000

libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: int | bytes | None, plus: int = 0) -> int:
    """A bare system call. Raises OSError."""
    number = pyseccomp.resolve_syscall(pyseccomp.Arch.NATIVE, name) + plus
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    ctypes.set_errno(0)
    result: int = libc.syscall(ctypes.c_long(number), *given)
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def end_child(pid: int) -> int:
    if pid == 0:
        os._exit(0)
    return pid


def connected(family: int, kind: int, address: str) -> None:
    with socket.socket(family, kind) as sock:
        sock.connect(address)


def reach_by_pair(kind: int, address: str) -> None:
    """One end of a pair that can be made reaches for somebody else."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, kind)
    with ours, theirs:
        ours.connect(address)


def own_the_signals_of(victim: int) -> None:
    with socket.socket() as sock:
        fcntl.fcntl(sock, fcntl.F_SETOWN, victim)


def bind(port: int) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", port))


def listen() -> None:
    with socket.socket() as sock:
        sock.listen()


def set_option(level: int, option: int, value: bytes) -> None:
    with socket.socket() as sock:
        sock.setsockopt(level, option, value)


def open_through_the_listing(name: str) -> int:
    """The directory of its own descriptors is open: from there to other files of /proc."""
    for descriptor in range(3, 64):
        try:
            os.listdir(descriptor)
        except OSError:
            continue
        return os.open(name, os.O_RDONLY, dir_fd=descriptor)
    raise AssertionError("there is no such descriptor")


def attacks(target: Mapping[str, Any]) -> dict[str, Callable[[], object]]:
    file, directory, victim = target["file"], target["directory"], int(target["victim"])
    control, datagrams = target["control"], target["datagrams"]
    main = os.getppid()
    return {
        "read a file": lambda: os.open(file, os.O_RDONLY),
        "read /etc/passwd": lambda: os.open("/etc/passwd", os.O_RDONLY),
        "write a file": lambda: os.open(file, os.O_WRONLY),
        "append to a file": lambda: os.open(file, os.O_WRONLY | os.O_APPEND),
        "make a file": lambda: os.open(f"{directory}/made", os.O_CREAT | os.O_WRONLY, 0o600),
        "make a file without a name": lambda: os.open(directory, os.O_TMPFILE | os.O_RDWR, 0o600),
        "name a file only": lambda: os.open(file, os.O_PATH),
        "open by openat2": lambda: call("openat2", -100, file.encode(), struct.pack("QQQ", 0, 0, 0), 24),
        "open by handle": lambda: call("open_by_handle_at", -100, bytes(128), os.O_RDONLY),
        "open the memory of main": lambda: os.open(f"/proc/{main}/mem", os.O_RDONLY),
        "open its own environment": lambda: os.open("/proc/self/environ", os.O_RDONLY),
        "open through its list": lambda: open_through_the_listing("../environ"),
        "open main through its list": lambda: open_through_the_listing(f"../../{main}/environ"),
        "list a directory": lambda: os.listdir(directory),
        "remove a file": lambda: os.unlink(file),
        "rename a file": lambda: os.rename(file, f"{file}2"),
        "link a file": lambda: os.link(file, f"{file}2"),
        "link a file by symbol": lambda: os.symlink(file, f"{file}2"),
        "make a directory": lambda: os.mkdir(f"{directory}/made"),
        "change a mode": lambda: os.chmod(file, 0o777),
        "change an owner": lambda: os.chown(file, 0, 0),
        "truncate a file": lambda: os.truncate(file, 0),
        "make a device": lambda: os.mknod(f"{directory}/null", 0o20666, os.makedev(1, 3)),
        "make a fifo": lambda: os.mkfifo(f"{directory}/fifo"),
        "execute": lambda: os.execv("/bin/true", ["true"]),
        "execute a memfd": lambda: os.execve(os.memfd_create("program"), ["program"], {}),
        "spawn": lambda: os.posix_spawn("/bin/true", ["true"], {}),
        "fork": lambda: end_child(os.fork()),
        "fork by clone": lambda: end_child(call("clone", int(signal.SIGCHLD), 0, 0, 0, 0)),
        "fork by clone3": lambda: end_child(call("clone3", struct.pack("11Q", *[0] * 4, 17, *[0] * 6), 88)),
        "vfork": lambda: end_child(call("clone", 0x4000 | 0x100 | int(signal.SIGCHLD), 0, 0, 0, 0)),
        "kill a process": lambda: os.kill(victim, signal.SIGKILL),
        "signal main": lambda: os.kill(main, signal.SIGTERM),
        "signal a thread of main": lambda: call("tgkill", main, main, int(signal.SIGTERM)),
        "signal by tkill": lambda: call("tkill", victim, int(signal.SIGKILL)),
        "signal by queue": lambda: call("rt_sigqueueinfo", victim, int(signal.SIGKILL), bytes(128)),
        "signal by pidfd": lambda: os.pidfd_open(victim),
        "signal by owning": lambda: own_the_signals_of(victim),
        "trace a process": lambda: call("ptrace", 16, victim, 0, 0),
        "be traced": lambda: call("ptrace", 0, 0, 0, 0),
        "read memory of a process": lambda: call("process_vm_readv", victim, None, 0, None, 0, 0),
        "write memory of a process": lambda: call("process_vm_writev", victim, None, 0, None, 0, 0),
        "take a descriptor of main": lambda: call("pidfd_getfd", 0, 0, 0),
        "compare processes": lambda: call("kcmp", main, victim, 0, 0, 0),
        "slow main down": lambda: os.setpriority(os.PRIO_PROCESS, main, 10),
        "limit main": lambda: call("prlimit64", main, 7, struct.pack("QQ", 0, 0), None),
        "raise its own limit": lambda: call("prlimit64", 0, 7, struct.pack("QQ", 1 << 20, 1 << 20), None),
        "connect to the control socket": lambda: connected(socket.AF_UNIX, socket.SOCK_STREAM, control),
        "reach it by a pair": lambda: reach_by_pair(socket.SOCK_STREAM, control),
        "send to a datagram socket": lambda: connected(socket.AF_UNIX, socket.SOCK_DGRAM, datagrams),
        "reach it by a pair of datagram sockets": lambda: reach_by_pair(socket.SOCK_DGRAM, datagrams),
        "connect to an abstract socket": lambda: connected(socket.AF_UNIX, socket.SOCK_STREAM, "\0abstract"),
        "bind a port": lambda: bind(0),
        "bind a low port": lambda: bind(81),
        "listen": listen,
        "make a UDP socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM),
        "make a raw socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP),
        "make a packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
        "make a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
        "make a vsock socket": lambda: socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM),
        "make a crypto socket": lambda: socket.socket(socket.AF_ALG, socket.SOCK_SEQPACKET),
        "make an MPTCP socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM, 262),
        "attach a filter": lambda: set_option(socket.SOL_SOCKET, 26, bytes(16)),
        "bind to a device": lambda: set_option(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"lo\0"),
        "make namespaces": lambda: call("unshare", 0x10000000),
        "make a network": lambda: call("unshare", 0x40000000),
        "enter a namespace": lambda: call("setns", 0, 0),
        "mount": lambda: call("mount", b"none", directory.encode(), b"tmpfs", 0, None),
        "mount anew": lambda: call("fsopen", b"tmpfs", 0),
        "unmount": lambda: call("umount2", b"/proc", 2),
        "pivot the root": lambda: call("pivot_root", directory.encode(), directory.encode()),
        "change the root": lambda: os.chroot(directory),
        "change the directory": lambda: os.chdir("/"),
        "make an io_uring": lambda: call("io_uring_setup", 8, bytes(120)),
        "use a key": lambda: call("keyctl", 0, -3, 1),
        "add a key": lambda: call("add_key", b"user", b"name", b"value", 5, -3),
        "load a bpf program": lambda: call("bpf", 0, bytes(128), 128),
        "open a perf event": lambda: call("perf_event_open", bytes(128), 0, -1, -1, 0),
        "handle page faults": lambda: call("userfaultfd", 0),
        "load a module": lambda: call("finit_module", 0, b"", 0),
        "load a kernel": lambda: call("kexec_load", 0, 0, None, 0),
        "reboot": lambda: call("reboot", 0xFEE1DEAD, 672274793, 0x01234567, 0),
        "set the time": lambda: call("clock_settime", 0, struct.pack("QQ", 0, 0)),
        "set the name of the host": lambda: socket.sethostname("mine"),
        "read the log of the kernel": lambda: call("syslog", 10, None, 0),
        "watch files": lambda: call("fanotify_init", 0, 0),
        "another personality": lambda: call("personality", 0x0040000),
        "be dumpable again": lambda: call("prctl", 4, 1, 0, 0, 0),
        "be root": lambda: os.setuid(0),
        "be in a group": lambda: os.setgroups([0]),
        "have capabilities": lambda: call("capset", struct.pack("Ii", 0x20080522, 0), bytes(24)),
        "another filter": lambda: call("seccomp", 1, 0, None),
        "write over what is in the log": lambda: fcntl.fcntl(2, fcntl.F_SETFL, 0),
        "type into the terminal": lambda: fcntl.ioctl(2, termios.TIOCSTI, b"x"),
        "call by x32": lambda: call("getpid", plus=X32),
        "code in writable memory": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
        "share memory": lambda: call("shmget", 1, 4096, 0o1666),
        "a message queue": lambda: call("msgget", 1, 0o1666),
        "import something": lambda: Path(os.__file__).read_bytes(),
    }


def look_at(path: str) -> int:
    """The size of a file, by `newfstatat` with AT_EMPTY_PATH, which `fstat` is made of: other flags are not allowed."""
    status = ctypes.create_string_buffer(256)
    call("newfstatat", -100, path.encode(), ctypes.addressof(status), 0x1000)
    size: int = struct.unpack_from("q", status.raw, 48)[0]
    return size


def left_open() -> dict[str, Callable[[], object]]:
    """What nothing stops; SECURITY.md says so."""
    return {"look at a file": lambda: look_at("/etc/passwd")}


def outcome(attack: Callable[[], object]) -> str:
    """`refused: …`, or what has come of it."""
    try:
        result = attack()
    except OSError as error:
        name = errno.errorcode.get(error.errno or 0, "?")
        return f"refused: {name}" if error.errno in REFUSED else f"came as far as {name}"
    except BaseException as error:
        return f"came as far as {error!r}"
    return f"done: {result!r}"


def thread() -> None:
    done = []
    started = threading.Thread(target=lambda: done.append(1))
    started.start()
    started.join()
    assert done


def traceback_of_an_error() -> None:
    try:
        raise ValueError("wrong")
    except ValueError:
        assert "ValueError: wrong" in traceback.format_exc()


def resolve_number() -> None:
    assert socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM)[0][4] == ("127.0.0.1", 80)


def make_a_pair() -> None:
    for each in socket.socketpair():
        each.close()


def works() -> dict[str, Callable[[], object]]:
    """What has to go on."""
    return {
        "thread": thread,
        "traceback": traceback_of_an_error,
        "time": lambda: time.strftime("%c %Z"),
        "random": lambda: os.urandom(8),
        "address": resolve_number,
        "context": lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER),
        "name": lambda: "bücher.example".encode("idna"),
        "pair": make_a_pair,
        "terminate nobody but itself": lambda: signal.raise_signal(signal.SIGWINCH),
    }


def attempt() -> dict[str, Any]:
    """Try everything; all that came of it, and which modules there are."""
    target = json.loads(os.environ[TARGETS])
    return {
        "attacks": {name: outcome(attack) for name, attack in attacks(target).items()},
        "left open": {name: outcome(each) for name, each in left_open().items()},
        "works": {name: outcome(each) for name, each in works().items()},
        "modules": sorted(sys.modules),
    }
