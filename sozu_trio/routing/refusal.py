"""Why one change cannot be made: what those who carry changes out raise, and `changes.py` turns into a problem."""

from collections.abc import Callable, Hashable, Iterable
from difflib import get_close_matches

Thing = tuple[str, Hashable]
"""A record, be it there or not: its kind and its key."""
COMPARED = 200
"""Names a misspelt one is compared with: each takes some 20 µs."""


class Refusal(Exception):
    """`key` is the option at fault, empty for the whole change. `lacking` is the record whose absence is the fault."""

    def __init__(self, key: str, what: str, lacking: Thing | None = None, hint: Callable[[], str] = str) -> None:
        super().__init__(what)
        self.key = key
        self.what = what
        self.lacking = lacking
        self.hint = hint
        """Makes what is said of near misses. Only called where somebody will read it: it takes milliseconds."""


def near_miss(name: str, known: Iterable[str]) -> str:
    """`; did you mean 'api'?` when a known name looks like this one, else nothing.

    Of many names only some of those are looked at that begin or end alike.
    """
    names = list(known)
    if len(names) > COMPARED:
        names = [each for each in names if each[:2] == name[:2] or each[-2:] == name[-2:]][:COMPARED]
    nearest = get_close_matches(name, names, n=1)
    return f"; did you mean {nearest[0]!r}?" if nearest else ""
