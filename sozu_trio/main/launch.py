"""How this process was started, so that another program can be started in its place the same way."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

WITH_VALUE: Final = "cmWX"
"""Options whose value is the rest of the word, or the next word."""
LONG_WITH_VALUE: Final = "--check-hash-based-pycs"
"""The only one whose value is the next word."""


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
    return Launch(
        executable=sys.executable,
        flags=tuple(_flags(sys.orig_argv[1:])),
        arguments=tuple(sys.argv[1:]),
        path=sys.path[0],
        title=tuple(sys.orig_argv),
    )


def _flags(words: list[str]) -> Iterator[str]:
    """Python's own options among `words`, without those that say what to run (python(1)): `-Im PROGRAM` is `-I` and
    the module, and so is `-ImPROGRAM`.
    """
    left = iter(words)
    for word in left:
        if word == "-" or not word.startswith("-"):
            return
        letters, with_value, value = _split(word)
        if with_value in ("m", "c"):
            if letters:
                yield f"-{letters}"
            return
        yield word
        if word == LONG_WITH_VALUE or (with_value and not value):
            yield next(left)


def _split(word: str) -> tuple[str, str, str]:
    """A cluster of options: the letters that stand for themselves, the one that takes a value, and the value."""
    if word.startswith("--"):
        return word, "", ""
    letters = word[1:]
    at = next((index for index, letter in enumerate(letters) if letter in WITH_VALUE), len(letters))
    return letters[:at], letters[at : at + 1], letters[at + 1 :]


def in_module(path: str, code: str) -> list[str]:
    """Python's arguments to run `code` with `path` in front, as a program started from there has it."""
    return ["-c", f"import sys\nif not sys.flags.safe_path: sys.path[0] = {path!r}\n{code}"]
