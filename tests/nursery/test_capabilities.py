"""Rights that are given up are gone; what is kept can be used."""

import os

import pytest

from sozu_trio.nursery import capabilities
from tests.nursery.sealed import run

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something to give up")
CODE = "from sozu_trio.nursery.capabilities import *\nfrom sozu_trio.nursery import capabilities\n"


def test_root_has_some() -> None:
    assert {capabilities.KILL, capabilities.NET_BIND_SERVICE} <= capabilities.held()
    assert capabilities.held() <= capabilities.bounding()


def test_only_what_is_kept_is_left() -> None:
    assert run(f"{CODE}keep_only({{KILL, SETUID}}); print(sorted(held()))") == "[5, 7]"
    assert run(f"{CODE}keep_only(()); print(sorted(held()))") == "[]"


def test_what_is_gone_does_not_come_back() -> None:
    code = f"""{CODE}
keep_only({{KILL}})
keep_only({{KILL, SETUID}})
print(sorted(held()))
"""
    assert run(code) == "[5]"


def test_a_program_it_becomes_has_no_more() -> None:
    code = f"""{CODE}
import os, sys
limit_to({{KILL, SETUID}})
keep_only({{KILL, SETUID}})
again = "from sozu_trio.nursery.capabilities import held, bounding; print(sorted(held()), sorted(bounding()))"
os.execv(sys.executable, [sys.executable, "-c", again])
"""
    assert run(code) == "[5, 7] [5, 7]"


def test_who_has_no_say_in_it_is_not_limited() -> None:
    assert run(f"{CODE}before = bounding(); keep_only(()); limit_to(()); print(bounding() == before)") == "True"


def test_an_error_is_told() -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        capabilities.prctl(99_999)
