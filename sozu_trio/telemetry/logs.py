"""Where a process's lines go: a buffer and a writer for each target of its log, its access log and its audit logs; one
of each where targets are the same.
"""

import contextlib
import json
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial

import trio

from sozu_trio.config.directives import directives_from
from sozu_trio.config.limits import LOG_LINES
from sozu_trio.config.program import Program
from sozu_trio.telemetry.access_log import AccessLog
from sozu_trio.telemetry.lines import LineBuffer
from sozu_trio.telemetry.log import apply_directives, log_to
from sozu_trio.telemetry.sink import Batches, lost_lines, serve_sink
from sozu_trio.telemetry.stamp import rfc3339
from sozu_trio.telemetry.targets import Target, parse_target
from sozu_trio.telemetry.writers import open_target


def lost_deeds(count: int) -> str:
    """The object that says how many deeds are missing from an audit log of JSON."""
    return json.dumps({"time": rfc3339(time.time()), "result": "lost", "count": count})


class Logs:
    """Log, access log and audit logs of main. Raises OperatorError for a directive or a target that is none."""

    def __init__(self, program: Program) -> None:
        self._directives = directives_from(os.environ, program.settings.log_level)
        self._program = program
        self._batches: list[Batches] = []
        self._buffers: dict[Target, LineBuffer] = {}
        self._lost: dict[Target, Callable[[int], str]] = {}
        self._lines = self._buffer(program.log_target, lost_lines)
        access_target = program.access_logs_target or program.log_target
        self._access = self._buffer(access_target, self._lost_access_lines)
        self._audit = program.audit_logs_target and self._buffer(program.audit_logs_target, lost_lines)
        self._audit_json = program.audit_logs_json_target and self._buffer(program.audit_logs_json_target, lost_deeds)

    def _buffer(self, text: str, lost: Callable[[int], str]) -> LineBuffer:
        target = parse_target(text)
        self._lost.setdefault(target, lost)
        return self._buffers.setdefault(target, LineBuffer(LOG_LINES))

    def _lost_access_lines(self, count: int) -> str:
        return AccessLog(self._access, self._program.access_logs_format, tag="MAIN").lost(count)

    def take(self, lines: str, dropped: int) -> None:
        """Access-log lines from a worker, separated by line feeds, and how many it had to drop."""
        self._access.append_block(lines)
        if dropped:
            self._access.drop(dropped)

    def take_log(self, lines: Iterable[str], dropped: int) -> None:
        """Lines of the log of a worker, each with its traceback if it has one, and how many it had to drop."""
        for line in lines:
            self._lines.append(line)
        if dropped:
            self._lines.drop(dropped)

    @property
    def audit(self) -> Callable[[str], None] | None:
        """Takes a line of the audit log, which goes into the log where no audit log has a target; None where only the
        other one has.
        """
        if self._audit:
            return self._audit.append
        return None if self._audit_json else self._lines.append

    @property
    def audit_json(self) -> Callable[[str], None] | None:
        """Takes a JSON object of the audit log, as a line; None where there is no target for it."""
        return self._audit_json.append if self._audit_json else None

    def reopen(self) -> None:
        """Open files anew, because somebody has renamed them; does not block."""
        for batches in self._batches:
            batches.reopen()

    async def flush(self) -> None:
        """Have everything written that was logged so far."""
        async with trio.open_nursery() as flushing:
            for batches in self._batches:
                flushing.start_soon(batches.flush)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Write lines while the body runs, and what is left when it ends. Raises OperatorError when a target cannot be
        opened.
        """
        with contextlib.ExitStack() as writers:
            opened = [writers.enter_context(contextlib.closing(open_target(target))) for target in self._buffers]
            writers.enter_context(log_to(self._lines, tag="MAIN", colored=self._program.log_colored))
            apply_directives(self._directives)
            async with trio.open_nursery() as sinks:
                for (target, buffer), writer in zip(self._buffers.items(), opened, strict=True):
                    serve = partial(serve_sink, buffer, writer, lost=self._lost[target])
                    self._batches.append(await sinks.start(serve))
                try:
                    yield
                finally:
                    sinks.cancel_scope.cancel(reason="nobody is left to write a line")
