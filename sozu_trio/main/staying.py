"""What main, its workers and the next image of main find one another by: only a stop and a start can change that."""

from pathlib import Path
from typing import Final

from sozu_trio.config.program import Program

STAYING: Final = ("command_socket", "runtime_directory", "pid_file_path")
"""Keys that no upgrade changes; those that say where the journal is are no others as long as it stays there."""


def journal_path(program: Program) -> Path:
    """Where the journal of such a program is."""
    if program.automatic_state_save and program.saved_state is not None:
        return program.saved_state.with_name(program.saved_state.name + ".journal")
    return program.runtime_directory / "journal"


def stays(key: str, before: Program, after: Program) -> bool:
    """Whether an upgrade is refused because this key differs."""
    if key in ("saved_state", "automatic_state_save"):
        return journal_path(before) != journal_path(after)
    return key in STAYING
