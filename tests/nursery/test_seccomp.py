"""The filter alone: what is refused, how, and what is killed for."""

import errno
import signal
import subprocess
import sys

import pytest

from sozu_trio.nursery import seccomp
from tests.nursery.sealed import run

if seccomp.seccomp is None:
    pytest.skip(seccomp.why_not, allow_module_level=True)

SEALED = """
import ctypes, os, socket, threading, time
from sozu_trio.nursery.privileges import forbid_new_privileges
from sozu_trio.nursery.seccomp import filter_calls
libc = ctypes.CDLL(None, use_errno=True)
forbid_new_privileges()
layer = filter_calls(kill={kill})
def refused(call):
    try:
        call()
    except OSError as error:
        return error.errno
    return 0
def bare(number):
    return 0 if libc.syscall(number, 0, 0, 0, 0, 0) >= 0 else ctypes.get_errno()
"""
DENIED = SEALED.format(kill=False)
KILLED = SEALED.format(kill=True)


def test_it_says_what_it_does() -> None:
    assert run(f"{DENIED}print(layer)") == "seccomp"
    assert run(f"{KILLED}print(layer)") == "seccomp (kill)"


@pytest.mark.parametrize(
    "call",
    [
        "os.fork()",
        "socket.socket(socket.AF_UNIX)",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM)",
        "socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)",
        "os.open('/dev/null', os.O_WRONLY)",
        "os.stat('/')",
        "os.kill(os.getpid(), 0)",
    ],
)
def test_refused(call: str) -> None:
    assert run(f"{DENIED}print(refused(lambda: {call}))") == str(errno.EPERM)


@pytest.mark.parametrize(
    "call",
    [
        "socket.socket(socket.AF_INET6).close()",
        "socket.socketpair()[0].close()",
        "os.open('/dev/null', os.O_RDONLY)",
        "os.fstat(0)",
        "threading.Thread(target=time.time).start()",
        "os.pipe()",
    ],
)
def test_allowed(call: str) -> None:
    assert run(f"{DENIED}print(refused(lambda: {call}))") == "0"


def test_a_call_that_is_newer_than_the_library_does_not_exist() -> None:
    assert run(f"{DENIED}print(bare(599))") == str(errno.ENOSYS)


def test_threads_that_are_there_are_filtered_as_well() -> None:
    code = """
import os, threading
from sozu_trio.nursery.privileges import forbid_new_privileges
from sozu_trio.nursery.seccomp import filter_calls
sealed, told = threading.Event(), []
def wait():
    sealed.wait()
    try:
        os.stat("/")
    except OSError as error:
        told.append(error.errno)
thread = threading.Thread(target=wait)
thread.start()
forbid_new_privileges()
filter_calls(kill=False)
sealed.set()
thread.join()
print(told)
"""
    assert run(code) == f"[{errno.EPERM}]"


def test_an_attack_is_killed_for_where_that_is_asked_for_and_a_look_is_not() -> None:
    assert run(f"{KILLED}print(refused(lambda: os.stat('/')))") == str(errno.EPERM)
    done = subprocess.run([sys.executable, "-c", f"{KILLED}os.fork()"], capture_output=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGSYS


def test_nothing_is_run_to_find_the_library() -> None:
    """Main imports what workers do while it serves; Trio finds its own library before that."""
    code = """
import sys, trio
run = []
sys.addaudithook(lambda event, arguments: event == "subprocess.Popen" and run.append(arguments[1]))
import ctypes.util
find = ctypes.util.find_library
import sozu_trio.worker_process, pyseccomp
assert ctypes.util.find_library is find
print(run)
"""
    assert run(code) == "[]"


def test_a_library_that_is_not_there_is_named() -> None:
    code = """
import ctypes
load = ctypes.CDLL
def refuse(name, *more, **named):
    if name == "libseccomp.so.2":
        raise OSError(f"{name}: cannot open shared object file")
    return load(name, *more, **named)
ctypes.CDLL = refuse
from sozu_trio.nursery import seccomp
print(seccomp.seccomp, seccomp.why_not)
"""
    assert run(code) == "None libseccomp cannot be loaded: libseccomp.so.2: cannot open shared object file"


def test_without_the_library_there_is_no_such_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seccomp, "seccomp", None)
    monkeypatch.setattr(seccomp, "why_not", "libseccomp cannot be loaded: not there")
    with pytest.raises(OSError, match="not there"):
        seccomp.filter_calls(kill=False)
