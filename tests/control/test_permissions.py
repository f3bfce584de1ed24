"""Who is at the other end, and what they may do."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterable

import pytest

from sozu_trio.control.permissions import Peer, Permissions, peer_credentials, process_name


@pytest.mark.parametrize(
    ("allowed", "read_only", "may"),
    [
        (None, (), "change"),
        ([1001], (), "change"),
        ([0, 1000], (), "nothing"),
        ([], (), "nothing"),
        (None, [1001], "look"),
        ([1001], [1001], "look"),
        ([], [1001], "look"),
        (None, [1002], "change"),
    ],
)
def test_lists(allowed: Iterable[int] | None, read_only: Iterable[int], may: str) -> None:
    permissions = Permissions(
        allowed_uids=None if allowed is None else frozenset(allowed), read_only_uids=frozenset(read_only)
    )
    assert permissions.may_change(1001) == (may == "change")
    refusal = "unauthorized: uid 1001 is not among command_allowed_uids" if may == "nothing" else None
    assert permissions.refusal(1001) == refusal


def test_credentials_are_the_kernels() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert peer_credentials(ours) == (os.geteuid(), os.getegid(), os.getpid())


@pytest.mark.parametrize(
    ("name", "shown"),
    [(b"two words", "two words"), (b"a\nb\x1b[1m", "a\\nb\\x1b[1m"), (b"\xc3\xa9\xff", "\\xc3\\xa9\\xff"), (b"", "?")],
)
def test_a_process_may_call_itself_anything(name: bytes, shown: str) -> None:
    code = f"open('/proc/self/comm', 'wb').write({name!r} or b'\\0'); print(flush=True); input()"
    process = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        assert process.stdout
        process.stdout.readline()
        assert process_name(process.pid) == shown
        process.communicate(b"\n")


def test_a_process_that_is_gone() -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    assert process_name(process.pid) == "?"


@pytest.mark.parametrize(("may_change", "role"), [(True, "full"), (False, "read-only")])
def test_how_a_peer_is_named(may_change: bool, role: str) -> None:
    peer = Peer(client_id=3, uid=0, gid=0, pid=9, process="socat", may_change=may_change, connected=0)
    assert (str(peer), peer.role) == ("client 3 (uid 0, pid 9, socat)", role)
