"""Identifiers for sessions and requests: ULIDs, 26 characters that sort by time and are unique without asking anyone.

48 bits of milliseconds, then 80 that are random at first in each 1,024 ms and otherwise count up by one, in Crockford's
base 32: identifiers of one source always ascend, whatever its clock does. They are names, not secrets: one lets its
neighbours be guessed.
"""

from collections.abc import Callable

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(high + low for high in ALPHABET for low in ALPHABET)
_RANDOM_BYTES = 10


class IdSource:
    """Makes ULIDs. `now` gives seconds since the epoch, `random_bytes` that many random bytes."""

    __slots__ = (
        "_early", "_early_text", "_high", "_high_text", "_low", "_millisecond", "_now", "_random_bytes", "_text",
    )  # fmt: skip

    def __init__(self, now: Callable[[], float], random_bytes: Callable[[int], bytes]) -> None:
        self._now = now
        self._random_bytes = random_bytes
        self._millisecond = -1
        self._high = 0
        self._high_text = ""
        self._low = 0
        self._text = ""
        self._early = -1
        self._early_text = ""

    def next(self) -> str:
        """An identifier greater than all before it."""
        # The last 20 bits count in place; the 22 characters above them are kept until they change.
        millisecond = int(self._now() * 1000)
        if millisecond >> 10 > self._early:
            random = int.from_bytes(self._random_bytes(_RANDOM_BYTES))
            self._start(millisecond, random >> 20, random & 0xFFFFF)
        else:
            if millisecond > self._millisecond:
                self._turn_to(millisecond)
            if self._low < 0xFFFFF:
                self._low += 1
            else:
                # Carries into the random part, and from its very end into the time, which is then ahead of the clock.
                carried, high = divmod(self._high + 1, 1 << 60)
                self._start(self._millisecond + carried, high, 0)
        low = self._low
        return self._text + _PAIRS[low >> 10] + _PAIRS[low & 1023]

    def _start(self, millisecond: int, high: int, low: int) -> None:
        self._high, self._low = high, low
        self._high_text = "".join([_PAIRS[(high >> shift) & 1023] for shift in (50, 40, 30, 20, 10, 0)])
        self._early = millisecond >> 10
        self._early_text = "".join([_PAIRS[(self._early >> shift) & 1023] for shift in (30, 20, 10, 0)])
        self._turn_to(millisecond)

    def _turn_to(self, millisecond: int) -> None:
        self._millisecond = millisecond
        self._text = f"{self._early_text}{_PAIRS[millisecond & 1023]}{self._high_text}"


def milliseconds_of(ulid: str) -> int:
    """When it was made, in milliseconds since the epoch. Raises ValueError for a character that is not in ALPHABET."""
    value = 0
    for character in ulid[:10]:
        value = (value << 5) | ALPHABET.index(character)
    return value
