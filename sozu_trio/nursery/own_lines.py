"""Lines that a worker has sent, before they are written: they have to be its own."""

from sozu_trio.control.messages import Lines, Logged
from sozu_trio.errors import ChannelError
from sozu_trio.telemetry.claims import Claims


def own_lines(report: Lines | Logged, claims: Claims) -> Lines | Logged:
    """`report`, fit to be written. Raises ChannelError for lines that pass for those of others."""
    try:
        if isinstance(report, Lines):
            return Lines(lines=claims.access_lines(report.lines) if report.lines else "", dropped=report.dropped)
        return Logged(lines=claims.log_lines(report.lines), dropped=report.dropped)
    except (ValueError, RecursionError) as error:
        raise ChannelError(f"it sends {error}") from error
