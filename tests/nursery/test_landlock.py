"""Files, ports, signals and abstract sockets, forbidden by Landlock alone."""

import errno
import os

import pytest

from sozu_trio.nursery import landlock
from tests.nursery.sealed import run

try:
    VERSION = landlock.version()
except OSError:
    pytest.skip("the kernel has no Landlock", allow_module_level=True)

SEALED = """
import os, signal, socket
from sozu_trio.nursery.landlock import restrict_files
from sozu_trio.nursery.privileges import forbid_new_privileges
memory = os.memfd_create("memory")
pair = socket.socketpair()
forbid_new_privileges()
layer = restrict_files()
def refused(call):
    try:
        call()
    except OSError as error:
        return error.errno
    return 0
"""


def test_it_says_its_version() -> None:
    assert run(f"{SEALED}print(layer)") == f"landlock {VERSION}"


@pytest.mark.parametrize(
    "call",
    [
        "os.open('/etc/passwd', os.O_RDONLY)",
        "os.open('/tmp/sozu-trio-landlock', os.O_WRONLY | os.O_CREAT)",
        "os.listdir('/')",
        "os.mkdir('/tmp/sozu-trio-landlock')",
        "os.execv('/bin/true', ['true'])",
    ],
)
def test_files_are_out_of_reach(call: str) -> None:
    assert run(f"{SEALED}print(refused(lambda: {call}))") == str(errno.EACCES)


def test_what_has_no_path_is_not() -> None:
    assert (
        run(f"{SEALED}os.open(f'/proc/self/fd/{{memory}}', os.O_RDONLY); pair[0].send(b'x'); print('fine')") == "fine"
    )


@pytest.mark.skipif(VERSION < landlock._BIND_SINCE, reason="this version knows no ports")
def test_no_port_is_bound() -> None:
    assert run(f"{SEALED}print(refused(lambda: socket.socket().bind(('127.0.0.1', 0))))") == str(errno.EACCES)


@pytest.mark.skipif(VERSION < landlock._SCOPES_SINCE, reason="this version has no scopes")
def test_no_process_outside_is_signalled() -> None:
    assert run(f"{SEALED}print(refused(lambda: os.kill({os.getpid()}, 0)))") == str(errno.EPERM)
    assert run(f"{SEALED}print(refused(lambda: os.kill(os.getpid(), 0)))") == "0"


def test_the_reason_why_there_is_none_is_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(landlock, "_CREATE_RULESET", 100_000)
    with pytest.raises(OSError, match="the kernel has none"):
        landlock.version()
