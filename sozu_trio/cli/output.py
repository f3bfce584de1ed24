"""Standard output and standard error of ctl: tables for people, one JSON document for programs.

What the proxy says may hold names that others chose, so nothing in it can command a terminal. Who reads our output may
leave before its end, as `head` does: that changes neither what is done nor the exit code.
"""

import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import IO, Any

from rich.console import Console, RenderableType
from rich.text import Text

from sozu_trio.cli.drawing import DRAWINGS
from sozu_trio.cli.tables import TABLES, facts
from sozu_trio.cli.words import lines
from sozu_trio.errors import OperatorError

ENDLESS = 100_000
"""Columns of what is no terminal."""
VIEWS: Mapping[str, Callable[[Mapping[str, Any]], Iterable[RenderableType]]] = {**TABLES, **DRAWINGS}


class Output:
    """Where one command writes."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json
        self.gone = False
        """Whether nobody reads any more."""
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")

    def answer(self, verb: str, message: str, content: Any) -> None:
        """What the proxy answered: the content alone as JSON, or the message and a view of the content."""
        if self.as_json or verb == "state dump":
            self.document(content)
        else:
            self._show(verb, message, content)

    def document(self, content: Any) -> None:
        """One JSON document; a content that is none is `{}`."""
        self.write(json.dumps({} if content is None else content, indent=2))

    def json_line(self, content: Any) -> None:
        """One JSON document on one line."""
        self.write(json.dumps(content))

    def problem(self, message: str, content: Any) -> None:
        """What went wrong on standard error; for programs its `content` on standard output, too."""
        print(lines(message), file=sys.stderr, flush=True)
        if self.as_json:
            self.document(content)

    def write(self, text: str) -> None:
        """One or more whole lines. Raises OperatorError where they cannot be written although somebody would read."""
        if self.gone:
            return
        try:
            print(text, flush=True)
        except OSError as error:
            self.gone = True
            # Else the interpreter tries once more at its end, and complains.
            with open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), sys.stdout.fileno())
            if not isinstance(error, BrokenPipeError):
                raise OperatorError(f"standard output: {error.strerror}") from error

    def _show(self, verb: str, message: str, content: Any) -> None:
        # Drawn in memory first: rich itself knows no reader that leaves and no disk that is full.
        drawn = io.TextIOWrapper(io.BytesIO(), encoding=sys.stdout.encoding, errors="backslashreplace")
        console = _console(drawn)
        console.print(Text(lines(message)))
        if isinstance(content, dict) and content:
            _print_view(console, VIEWS.get(verb, facts), content)
        drawn.seek(0)
        self.write("\n".join(line.rstrip() for line in drawn.read().splitlines()))


def _print_view(console: Console, view: Callable[..., Iterable[RenderableType]], content: dict[str, Any]) -> None:
    try:
        shown = list(view(content))
    except (LookupError, TypeError, ValueError, AttributeError):
        # A proxy of another version may say it otherwise; then it is shown as it came.
        shown = [Text(json.dumps(content, indent=2))]
    for each in shown:
        console.print(each)


def _console(file: IO[str]) -> Console:
    terminal = sys.stdout.isatty()
    return Console(
        file=file,
        width=None if terminal else ENDLESS,
        color_system="auto" if terminal and not os.environ.get("NO_COLOR") else None,
        force_terminal=terminal,
        highlight=False,
        markup=False,
        emoji=False,
    )
