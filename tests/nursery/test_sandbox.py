"""What a worker seals itself with, in order; what is missing is named, and refused where it is required."""

import json
import logging
import os
from typing import Any

import pytest

from sozu_trio.config.program import Program
from sozu_trio.control.messages import Sandboxed
from sozu_trio.nursery import sealing
from sozu_trio.nursery.identity import Identity
from sozu_trio.nursery.sandbox import Sandbox, read_sandbox, sandbox_of
from sozu_trio.nursery.sealing import seal, tell
from tests.nursery.sealed import run


def code(mode: str, before: str = "") -> str:
    return f"""
import json
from dataclasses import asdict
from sozu_trio.nursery import landlock, sandbox, sealing, seccomp
{before}
print(json.dumps(asdict(sealing.seal(sandbox.Sandbox(mode={mode!r})))))
"""


def sealed(mode: str, before: str = "") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(code(mode, before)))
    return found


def test_it_travels_on_a_command_line() -> None:
    for each in (Sandbox(), Sandbox(mode="off", violation="kill", identity=Identity(uid=1, gid=2))):
        assert read_sandbox(each.argument()) == each


def test_it_is_what_the_program_asks_for() -> None:
    assert sandbox_of(Program(sandbox="require", sandbox_violation="kill"), "proxy.toml") == Sandbox(
        mode="require", violation="kill"
    )


def test_off_is_nothing_at_all() -> None:
    assert seal(Sandbox(mode="off")) == Sandboxed()


WITHOUT = 'seccomp.seccomp, seccomp.why_not = None, "not there"'


def test_auto_goes_on_without_and_says_so() -> None:
    found = sealed("auto", WITHOUT)
    assert "no_new_privs" in found["layers"]
    assert "seccomp" not in found["layers"]
    assert "seccomp: not there" in found["missing"]
    assert found["refusal"] == ""


def test_require_refuses_and_names_it() -> None:
    found = sealed("require", WITHOUT)
    assert "layers are missing: " in found["refusal"]
    assert "seccomp: not there" in found["refusal"]
    assert "user" not in found["refusal"]


def test_a_second_thread_is_an_error_of_ours() -> None:
    second = "import threading; threading.Thread(target=threading.Event().wait, daemon=True).start()"
    with pytest.raises(AssertionError, match="RuntimeError: a thread would stay outside"):
        run(code("auto", second))


@pytest.mark.parametrize("mode", ["auto", "require"])
def test_a_user_that_cannot_be_had_is_refused_in_every_mode(mode: str) -> None:
    missing = "def become(_): raise PermissionError(1, 'Operation not permitted')\nsealing.become = become"
    script = code(mode, missing).replace(f"{mode!r})", f"{mode!r}, identity=sandbox.Identity(uid=1, gid=1))")
    found = json.loads(run(script))
    assert "user: Operation not permitted" in found["refusal"]
    assert "user: not set" not in found["missing"]


def test_nobody_named_a_user_and_that_is_said_to_root() -> None:
    found = sealed("auto")
    assert ("user: not set" in found["missing"]) == (os.getuid() == 0)
    assert found["refusal"] == ""


def test_it_is_told_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, sealing.__name__):
        tell(Sandboxed())
        tell(Sandboxed(layers=("a", "b 7")))
        tell(Sandboxed(missing=("c: not there", "d: off")))
    assert caplog.messages == ["sandbox: a, b 7", "sandbox: none; without c: not there; d: off"]
