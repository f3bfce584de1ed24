"""How a process has ended, for the log."""

import signal


def ended_with(code: int) -> str:
    """`code` as subprocess has it: an exit code, or the number of the signal that killed it, negative."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
