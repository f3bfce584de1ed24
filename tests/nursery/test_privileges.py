"""Another user for good, no rights, no memory to be seen."""

import os
import pwd

import pytest

from tests.nursery.sealed import run

CODE = """
import os, resource
from sozu_trio.nursery import capabilities, privileges
from sozu_trio.nursery.identity import Identity
"""
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")


@AS_ROOT
def test_another_user_and_no_way_back() -> None:
    nobody = pwd.getpwnam("nobody")
    code = f"""{CODE}
os.setgroups([4, 5])
privileges.become(Identity(uid={nobody.pw_uid}, gid={nobody.pw_gid}))
print(os.getresuid(), os.getresgid(), os.getgroups(), sorted(capabilities.held()))
try:
    os.setuid(0)
except PermissionError:
    print("for good")
"""
    uid, gid = (nobody.pw_uid,) * 3, (nobody.pw_gid,) * 3
    assert run(code) == f"{uid} {gid} [] []\nfor good"


@AS_ROOT
def test_root_without_rights_and_groups() -> None:
    code = f"{CODE}os.setgroups([4]); privileges.give_up_capabilities(); print(os.getgroups(), capabilities.held())"
    assert run(code) == "[] frozenset()"


def test_who_has_none_gives_none_up() -> None:
    code = f"{CODE}[privileges.give_up_capabilities() for _ in range(2)]; print(capabilities.held())"
    assert run(code) == "frozenset()"


def test_nothing_of_its_memory_gets_out() -> None:
    code = f"""{CODE}
privileges.forbid_new_privileges()
print(capabilities.prctl(3), capabilities.prctl(39), resource.getrlimit(resource.RLIMIT_CORE))
"""
    assert run(code) == "0 1 (0, 0)"
