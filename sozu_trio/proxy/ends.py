"""Why a session has ended that neither of its peers has, as its access line says it."""

from typing import Final

CUT: Final = "cut by the operator"


def cut_short_by(error: BaseException) -> str:
    """What to say of a session that `error` has ended: cancellation is no Exception, alone or in a group."""
    return "an error of ours" if isinstance(error, Exception) else CUT
