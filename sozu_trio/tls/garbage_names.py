"""Names in SNI that are not ASCII: refused by `ssl` itself, which then writes a line to standard error.

The client is answered `internal_error` before our callback is asked. Whoever wants to could fill a disk with such
lines, so a worker that speaks TLS has them dropped.
"""

import sys
from typing import Any


def drop_lines_about_garbage_names() -> None:
    """From now on, in this process. Every other exception that cannot be raised is reported as before."""
    before = sys.unraisablehook

    def report(unraisable: Any) -> None:
        # `ssl` passes the name as the object concerned, and nobody else passes bytes.
        if not (issubclass(unraisable.exc_type, UnicodeDecodeError) and isinstance(unraisable.object, bytes)):
            before(unraisable)

    sys.unraisablehook = report
