"""How this process was started, so that another program can be started in its place the same way."""

import sys
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """`python FLAGS -m sozu_trio ARGUMENTS`, or a script in place of the module.

    `path`: where Python looks first, the working directory or that of the script. `title`: the whole command line as it
    was typed; it stays that of main whatever takes its place.
    """

    executable: str
    flags: tuple[str, ...]
    arguments: tuple[str, ...]
    path: str
    title: tuple[str, ...]


def launched() -> Launch:
    """Of this process, which nothing has replaced so far."""
    arguments = sys.argv[1:]
    before = sys.orig_argv[: len(sys.orig_argv) - len(arguments)]
    return Launch(
        executable=sys.executable,
        flags=tuple(before[1:-2] if before[-2:-1] == ["-m"] else before[1:-1]),
        arguments=tuple(arguments),
        path=sys.path[0],
        title=tuple(sys.orig_argv),
    )


def in_module(path: str, code: str) -> list[str]:
    """Python's arguments to run `code` with `path` in front, as a program started from there has it."""
    return ["-c", f"import sys\nif not sys.flags.safe_path: sys.path[0] = {path!r}\n{code}"]
