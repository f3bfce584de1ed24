"""How large a message may be, by its kind.

A worker may say anything once somebody has taken it over, and what main reads it has in memory ten to thirty times
over: a list of nothing takes three bytes of JSON and eighty of memory. What main says to workers is what an operator
has configured, however much that is.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

from sozu_trio.control.messages import REPORTS
from sozu_trio.errors import ChannelError

LARGEST: Final = 1 << 30
"""Bytes of anything that no worker says to main."""
LARGEST_REPORT: Final = 1 << 20
"""Bytes of a report, but those that follow: a hundred times what any is."""
LARGEST_LINES: Final = 1 << 23
"""Bytes of access lines: 60,000 characters are sent at a time, and one of the longest (`telemetry/lines.py`)."""
LARGEST_REPLY: Final = 1 << 24
"""Bytes of an answer: 10,000 sessions take 1.4 MB, 25,500 backends 3.9 MB."""
_OF_REPORTS: Final[Mapping[str, int]] = dict.fromkeys(REPORTS, LARGEST_REPORT) | {
    "Lines": LARGEST_LINES,
    "Reply": LARGEST_REPLY,
}
BYTES_PER_CONTAINER: Final = 24
"""Of a large answer, for each list and object in it; trees, which have most, have 35. Half a million of empty ones hold
the loop for a second, 5 million for six.
"""
_KIND: Final = re.compile(rb'(?:\{"([A-Za-z]{1,20})":|([A-Za-z]{1,20}) )')


class TooLarge(ChannelError):
    """A message is larger than one of its kind may be."""


def largest_of(kinds: Iterable[str]) -> int:
    """Bytes of the largest message of any of these kinds."""
    return max(_OF_REPORTS.get(kind, LARGEST) for kind in kinds)


def check_size(document: bytes) -> None:
    """Look at how a message begins, before anything is made of it. Raises TooLarge."""
    if len(document) <= LARGEST_REPORT:
        return
    found = _KIND.match(document)
    kind = "" if found is None else (found[1] or found[2]).decode()
    if found is None or len(document) > largest_of([kind]):
        raise TooLarge(f"{kind or 'a message'} of {len(document)} bytes is larger than any of its kind")
    containers = document.count(b"[") + document.count(b"{") if kind == "Reply" else 0
    if containers * BYTES_PER_CONTAINER > len(document):
        raise TooLarge(f"{kind} of {containers} lists and objects has more than any of its kind")
