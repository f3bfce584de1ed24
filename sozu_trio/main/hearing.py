"""What workers tell unasked, on its way: lines to the logs, events to whoever listens."""

from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from sozu_trio.control.messages import Happened, Lines, Logged, Report
from sozu_trio.main.events import Event, Events


class TakesLines(Protocol):
    """Where lines go: the targets of a configuration, or a test's memory."""

    def take(self, lines: str, dropped: int) -> None: ...
    def take_log(self, lines: Iterable[str], dropped: int) -> None: ...
    def serve(self) -> AbstractAsyncContextManager[None]: ...


def take_lines(logs: TakesLines, report: Lines | Logged) -> None:
    """Have lines of the access log, or of the other one, written."""
    if isinstance(report, Lines):
        logs.take(report.lines, report.dropped)
    else:
        logs.take_log(report.lines, report.dropped)


def tell_of(events: Events, happened: Happened) -> None:
    """Have an event told."""
    events.tell(
        Event(
            kind=happened.kind,
            cluster_id=happened.cluster_id,
            backend_id=happened.backend_id,
            address=happened.address,
            details=happened.details,
        )
    )


def hear(logs: TakesLines, events: Events, report: Report) -> None:
    """What a worker has said to the image of main before; nothing else of it is worth anything now."""
    match report:
        case Lines() | Logged():
            take_lines(logs, report)
        case Happened():
            tell_of(events, report)
