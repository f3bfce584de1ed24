"""Where main and those who come after it look for one another."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sozu_trio.config.program import Program
from sozu_trio.main.staying import journal_path, stays


@pytest.mark.parametrize(
    ("program", "path"),
    [
        (Program(), "sozu.sock.d/journal"),
        (Program(runtime_directory=Path("/run/sozu"), saved_state=Path("/var/state")), "/run/sozu/journal"),
        (Program(runtime_directory=Path("/run/sozu"), automatic_state_save=True), "/run/sozu/journal"),
        (Program(saved_state=Path("/var/state"), automatic_state_save=True), "/var/state.journal"),
    ],
)
def test_where_the_journal_is(program: Program, path: str) -> None:
    assert journal_path(program) == Path(path)


@pytest.mark.parametrize(
    ("key", "changes", "stays_as_it_is"),
    [
        ("command_socket", {"command_socket": Path("/s")}, True),
        ("pid_file_path", {"pid_file_path": Path("/pid")}, True),
        ("saved_state", {"saved_state": Path("/other")}, True),
        ("automatic_state_save", {"automatic_state_save": False}, True),
        ("saved_state", {"saved_state": Path("/other"), "automatic_state_save": False}, True),
        ("log_target", {"log_target": "stderr"}, False),
    ],
)
def test_what_only_a_start_changes(key: str, changes: dict[str, Any], stays_as_it_is: bool) -> None:
    before = Program(saved_state=Path("/state"), automatic_state_save=True)
    assert stays(key, before, replace(before, **changes)) is stays_as_it_is


def test_a_saved_state_that_is_no_journal_may_move() -> None:
    assert not stays("saved_state", Program(saved_state=Path("/a")), Program(saved_state=Path("/b")))
