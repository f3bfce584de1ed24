"""What a reading of the file has to say: problems, which refuse it, and notices, which go to the log.

Every step adds to the same report, so that one run names all faults. A step that misses a value stays silent where the
value was there but already refused.
"""

import json
import re
from dataclasses import dataclass
from typing import Literal

from sozu_trio.errors import MOST_PROBLEMS, Problem, and_more

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True, slots=True)
class Notice:
    """One line for the log: `where` is the place in the file, as in a Problem."""

    level: Literal["info", "warning"]
    where: str
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def place(where: str, step: str | int) -> str:
    """The place of a key or an index within a table or array, as TOML writes it: `clusters."my.app".backends[1]`."""
    if isinstance(step, int):
        return f"{where}[{step}]"
    name = step if _BARE_KEY.fullmatch(step) else json.dumps(step, ensure_ascii=not step.isprintable())
    return f"{where}.{name}" if where else name


def an(word: str) -> str:
    """The word with its article, as it is said aloud: an http listener, a tcp listener."""
    return f"an {word}" if word.startswith(("a", "e", "i", "o", "hs", "ht")) else f"a {word}"


def _one_line(text: str) -> str:
    """Others' messages, such as those of `re`, may quote the file with its line breaks."""
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


class Report:
    """Collects problems and notices in the order they are found. Of problems it keeps the first `MOST_PROBLEMS` and
    counts the others.
    """

    def __init__(self) -> None:
        self.found = 0
        """Problems so far, kept or not."""
        self._kept: list[Problem] = []
        self.notices: list[Notice] = []
        self._refused: set[str] = set()

    @property
    def problems(self) -> list[Problem]:
        """Those kept, and a last one for the others, if there are any."""
        return [*self._kept, *and_more(self.found - len(self._kept))]

    def wrong(self, where: str, what: str) -> None:
        self.found += 1
        if len(self._kept) < MOST_PROBLEMS:
            self._kept.append(Problem(where, _one_line(what)))
            self._refused.add(where)

    def missing(self, where: str, want: str) -> None:
        """A value is not there. Nothing is said where it, or a table around it, was refused before."""
        around = (where[:at] for at, each in enumerate(where) if each in ".[")
        if where not in self._refused and self._refused.isdisjoint(around):
            self.wrong(where, f"missing; want {want}")

    def warn(self, where: str, what: str) -> None:
        self.notices.append(Notice("warning", where, _one_line(what)))

    def info(self, where: str, what: str) -> None:
        self.notices.append(Notice("info", where, _one_line(what)))
