"""Lines that another process has made: each says of itself who made it, and is fit for a log.

A worker formats its own lines, which saves main that work. So main looks whether they are what such a worker would have
made, that somebody who has taken it over cannot speak for main, for its audit log or for another worker, nor to a
terminal. Clients cannot bring a worker to begin a line in another way.
"""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from sozu_trio.telemetry.escape import printable

_MOMENT = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z"
_OF_LOG = ("ERROR", "WARN", "INFO", "DEBUG", "TRACE")
_OF_ACCESS_LOG = ("INFO-ACCESS", "ERROR-ACCESS")
_SAID_AGAIN = ('"time"', '"level"', '"pid"', '"tag"', '"verb"', '"result"', "\\u00")
"""What might say once more who made an object, or be a second one; `t\\u0061g` is `tag`, too."""


def tag_of(worker_id: int) -> str:
    """What lines of a worker are tagged with."""
    return f"WRK-{worker_id:02}"


class Claims:
    """Of the worker that is the process `pid`; of any id for None. What the methods return may be written; they raise
    ValueError for lines that it has not made for itself.
    """

    def __init__(self, worker_id: int | None, pid: int) -> None:
        self._tag = re.compile("WRK-[0-9]{2,}" if worker_id is None else re.escape(tag_of(worker_id)))
        self._pid = pid
        self._log = self._beginning(_OF_LOG)
        self._access_log = self._beginning(_OF_ACCESS_LOG)
        self._object_beginning = re.compile(
            rf'{{"time":"{_MOMENT}","level":"(?:{"|".join(_OF_ACCESS_LOG)})","pid":{pid},"tag":"{self._tag.pattern}",'
        )

    def _beginning(self, levels: Iterable[str]) -> re.Pattern[str]:
        """As `Stamp.line` makes it, coloured or not."""
        level = rf"(?:\x1b\[[0-9]{{1,2}}m)?(?:{'|'.join(levels)})(?:\x1b\[0m)?"
        return re.compile(rf"{_MOMENT} {self._pid} {level} {self._tag.pattern}\t")

    def log_lines(self, lines: Iterable[str]) -> tuple[str, ...]:
        """Lines of the log, each with its traceback if it has one."""
        return tuple(map(self._log_line, lines))

    def _log_line(self, text: str) -> str:
        first, *traceback = text.split("\n")
        first = self._rest_printable(first, self._log)
        if not traceback:
            return first
        if not all(line.startswith("\t") for line in traceback):
            raise ValueError("a line of a traceback that is not indented")
        return "\n\t".join((first, *(printable(line[1:]) for line in traceback)))

    def access_lines(self, block: str) -> str:
        """Lines of the access log, of either form, separated by line feeds."""
        return "\n".join([self._object(line) if line[:1] == "{" else self._plain(line) for line in block.split("\n")])

    def _plain(self, line: str) -> str:
        return self._rest_printable(line, self._access_log)

    def _rest_printable(self, line: str, beginning: re.Pattern[str]) -> str:
        found = beginning.match(line)
        if found is None:
            raise ValueError(f"a line that does not begin as its own do: {printable(line[:80])}")
        rest = line[found.end() :]
        return line if rest.isprintable() else line[: found.end()] + printable(rest)

    def _object(self, line: str) -> str:
        """JSON as we write it is ASCII, and escapes all that is not printable but the last of that."""
        line = line.replace("\x7f", "\\u007f")
        if not (line.isascii() and line.isprintable()):
            raise ValueError("a JSON object with characters that have to be escaped")
        found = self._object_beginning.match(line)
        if found is None or any(line.find(word, found.end()) >= 0 for word in _SAID_AGAIN):
            self._check_members(line)
        return line

    def _check_members(self, line: str) -> None:
        """To read an object takes ten times as long as to see that it begins well."""
        members = json.loads(line, object_pairs_hook=_members)
        tag, pid, level = (members.get(name) for name in ("tag", "pid", "level"))
        if not (self._tag.fullmatch(str(tag)) and pid == self._pid and level in _OF_ACCESS_LOG):
            raise ValueError(f"a line that is of others: {line[:160]}")


def _members(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("two members of one name")
    return found
