"""Completion scripts for shells, generated from the parser."""

import argparse

import shtab

from sozu_trio.cli import parser

FILES = {"FILE", "PATH"}
"""Metavars of options that take the path of a file."""


def completion(shell: str) -> str:
    """The script with which `shell` completes the installed command `sozu-trio`."""
    made = parser()
    made.prog = "sozu-trio"
    _complete_files(made)
    script: str = shtab.complete(made, shell)
    return script.rstrip("\n")


def _complete_files(made: argparse.ArgumentParser) -> None:
    for action in made._actions:
        if isinstance(action, argparse._SubParsersAction):
            for each in action.choices.values():
                _complete_files(each)
        elif action.metavar in FILES:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
