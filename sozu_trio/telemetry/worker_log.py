"""The log of a worker that is a process of its own: lines that go to main, at the levels main was told."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from sozu_trio.config.directives import directives_from, parse_directives
from sozu_trio.config.limits import LOG_LINES
from sozu_trio.config.program import Program, Settings
from sozu_trio.telemetry.claims import tag_of
from sozu_trio.telemetry.lines import LineBuffer
from sozu_trio.telemetry.log import apply_directives, log_to


class WorkerLog:
    """`lines` are taken by whoever sends them."""

    def __init__(self) -> None:
        self.lines = LineBuffer(LOG_LINES)
        self._level: str | None = None

    @contextmanager
    def serve(self, worker_id: int, *, colored: bool) -> Iterator[None]:
        """Log while the body runs."""
        with log_to(self.lines, tag=tag_of(worker_id), colored=colored):
            yield

    def begin(self, program: Program) -> None:
        """Log as the environment says, which the program was started in, else as the file did then."""
        self._level = program.settings.log_level
        apply_directives(directives_from(os.environ, program.settings.log_level))

    def follow(self, settings: Settings) -> None:
        """Log as the State says, where that is something new."""
        if settings.log_level != self._level:
            self._level = settings.log_level
            apply_directives(parse_directives(settings.log_level))
