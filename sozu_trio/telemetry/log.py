"""Our loggers, on the standard library's: one per module, a level TRACE, a handler that makes lines and never waits.

Records of `sozu_trio` and `trio` go to the LineBuffer only, not to handlers that someone put on the root. A message
is one line, whatever bytes of peers are in it; a traceback follows with every line indented by a tab, so no record
can pass for another.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from sozu_trio.config.directives import PACKAGES, TRACE, Directives
from sozu_trio.telemetry.escape import printable
from sozu_trio.telemetry.lines import LineBuffer
from sozu_trio.telemetry.stamp import Stamp

logging.addLevelName(TRACE, "TRACE")
_NAMES = {logging.CRITICAL: "ERROR", logging.WARNING: "WARN"}
_handlers: list["LineHandler"] = []
_first: list["_Logging"] = []
"""How logging was before any of them; empty while there are none. Logging is one per process, and so is this."""
_with_own_level: set[str] = set()
"""Loggers that the directives in force gave a level; logging is one per process, and so is this."""


class Logger(logging.LoggerAdapter[logging.Logger]):
    """A logger as the standard library's, with `trace`."""

    def trace(self, message: str, *args: object) -> None:
        """Log at TRACE: what happens on each connection, step by step."""
        self.log(TRACE, message, *args)


def get_logger(name: str) -> Logger:
    """The logger of a module: `log = get_logger(__name__)`."""
    return Logger(logging.getLogger(name))


def apply_directives(directives: Directives) -> None:
    """Put `directives` into force; those before are forgotten altogether."""
    _set_levels(dict.fromkeys(PACKAGES, directives.default) | dict(directives.modules))


@contextmanager
def log_to(buffer: LineBuffer, *, tag: str, colored: bool = False) -> Iterator[None]:
    """Send our packages' records to `buffer` while the block runs.

    Blocks may overlap in any order, as two proxies in one test do. The levels in force are those of the block entered
    last; after the last one has ended logging is as it was.
    """
    handler = LineHandler(buffer, Stamp(tag, colored=colored))
    before = _Logging()
    if not _handlers:
        _first.append(before)
    _handlers.append(handler)
    for name in PACKAGES:
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).propagate = False
    try:
        yield
    finally:
        newest = _handlers[-1] is handler
        _handlers.remove(handler)
        for name in PACKAGES:
            logging.getLogger(name).removeHandler(handler)
        if not _handlers:
            _first.pop().restore()
        elif newest:
            before.restore()


class _Logging:
    """How logging was when a block was entered."""

    def __init__(self) -> None:
        self._propagate = {name: logging.getLogger(name).propagate for name in PACKAGES}
        self._levels = {name: logging.getLogger(name).level for name in _with_own_level.union(PACKAGES)}

    def restore(self) -> None:
        _set_levels(self._levels)
        for name, propagate in self._propagate.items():
            logging.getLogger(name).propagate = propagate


class LineHandler(logging.Handler):
    """Formats a record and appends it to a LineBuffer."""

    def __init__(self, buffer: LineBuffer, stamp: Stamp) -> None:
        super().__init__()
        self._buffer = buffer
        self._stamp = stamp

    def emit(self, record: logging.LogRecord) -> None:
        self._buffer.append(format_record(record, self._stamp))


def format_record(record: logging.LogRecord, stamp: Stamp) -> str:
    """The record as one line, followed by its traceback if it has one, indented."""
    level = _NAMES.get(record.levelno, record.levelname)
    line = stamp.line(record.created, level, printable(_message(record)))
    if record.exc_info:
        line += _indented(logging.Formatter().formatException(record.exc_info))
    if record.stack_info:
        line += _indented(record.stack_info)
    return line


def _message(record: logging.LogRecord) -> str:
    # A log call with the wrong arguments is our mistake, yet its line may be the only trace of a worse one.
    try:
        return record.getMessage()
    except Exception as error:
        return f"a message that cannot be formatted, {record.msg!r} in {record.name} line {record.lineno}: {error}"


def _indented(text: str) -> str:
    return "".join(f"\n\t{printable(line.expandtabs())}" for line in text.split("\n"))


def _set_levels(levels: Mapping[str, int]) -> None:
    for name in _with_own_level - levels.keys():
        logging.getLogger(name).setLevel(logging.NOTSET)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)
    _with_own_level.clear()
    _with_own_level.update(levels)
