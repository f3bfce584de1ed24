"""Where a process's lines go: a buffer and a writer for its log and for its access log, or one of each where the
targets are the same.
"""

import contextlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

import trio

from sozu_trio.config.limits import LOG_LINES
from sozu_trio.config.program import Program
from sozu_trio.telemetry.access_log import AccessLog
from sozu_trio.telemetry.directives import directives_from
from sozu_trio.telemetry.lines import LineBuffer
from sozu_trio.telemetry.log import apply_directives, log_to
from sozu_trio.telemetry.sink import lost_lines, serve_sink
from sozu_trio.telemetry.targets import Target, parse_target
from sozu_trio.telemetry.writers import open_target


class Logs:
    """The log and the access log of main. Raises OperatorError for a directive or a target that is none."""

    def __init__(self, program: Program) -> None:
        self._directives = directives_from(os.environ, program.log_level)
        self._program = program
        self._reopen: list[Callable[[], None]] = []
        target = parse_target(program.log_target)
        access_target = parse_target(program.access_logs_target) if program.access_logs_target else target
        self._lines = LineBuffer(LOG_LINES)
        self._access = self._lines if access_target == target else LineBuffer(LOG_LINES)
        self._sinks: list[tuple[LineBuffer, Target, Callable[[int], str]]] = [(self._lines, target, lost_lines)]
        if self._access is not self._lines:
            lost = AccessLog(self._access, program.access_logs_format, tag="MAIN").lost
            self._sinks.append((self._access, access_target, lost))

    def take(self, lines: str, dropped: int) -> None:
        """Access-log lines from a worker, separated by line feeds, and how many it had to drop."""
        self._access.append_block(lines)
        if dropped:
            self._access.drop(dropped)

    def reopen(self) -> None:
        """Open files anew, because somebody has renamed them; does not block."""
        for reopen in self._reopen:
            reopen()

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Write lines while the body runs, and what is left when it ends. Raises OperatorError when a target cannot be
        opened.
        """
        with contextlib.ExitStack() as writers:
            opened = [writers.enter_context(contextlib.closing(open_target(target))) for _, target, _ in self._sinks]
            writers.enter_context(log_to(self._lines, tag="MAIN", colored=self._program.log_colored))
            apply_directives(self._directives)
            async with trio.open_nursery() as sinks:
                for (buffer, _, lost), writer in zip(self._sinks, opened, strict=True):
                    self._reopen.append(await sinks.start(partial(serve_sink, buffer, writer, lost=lost)))
                try:
                    yield
                finally:
                    sinks.cancel_scope.cancel(reason="nobody is left to write a line")
