"""Identifiers for sessions and requests: ULIDs, 26 characters that sort by time and are unique without asking anyone.

48 bits of milliseconds, then 80 random ones, in Crockford's base 32. Within a millisecond, and while the clock stands
still or goes back, the random part counts up by one, so identifiers of one source always ascend. They are names, not
secrets: one lets its neighbours be guessed.
"""

from collections.abc import Callable

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(high + low for high in ALPHABET for low in ALPHABET)
_RANDOM_BYTES = 10


class IdSource:
    """Makes ULIDs. `now` gives seconds since the epoch, `random_bytes` that many random bytes."""

    __slots__ = ("_last", "_low", "_millisecond", "_now", "_random_bytes", "_text")

    def __init__(self, now: Callable[[], float], random_bytes: Callable[[int], bytes]) -> None:
        self._now = now
        self._random_bytes = random_bytes
        self._millisecond = -1
        self._last = 0
        self._low = 0
        self._text = ""

    def next(self) -> str:
        """An identifier greater than all before it."""
        # The last 20 bits count in place; the 22 characters above them are kept until they change.
        millisecond = int(self._now() * 1000)
        if millisecond > self._millisecond:
            self._millisecond = millisecond
            self._start((millisecond << 80) | int.from_bytes(self._random_bytes(_RANDOM_BYTES)))
        elif self._low < 0xFFFFF:
            self._low += 1
        else:
            # Carries into the random part, and from its very end into the time, which is then ahead of the clock.
            self._start((self._last + 1) << 20)
            self._millisecond = self._last >> 60
        low = self._low
        return self._text + _PAIRS[low >> 10] + _PAIRS[low & 1023]

    def _start(self, value: int) -> None:
        self._last, self._low = value >> 20, value & 0xFFFFF
        self._text = "".join(_PAIRS[(self._last >> shift) & 1023] for shift in range(100, -1, -10))


def milliseconds_of(ulid: str) -> int:
    """When it was made, in milliseconds since the epoch. Raises ValueError for a character that is not in ALPHABET."""
    value = 0
    for character in ulid[:10]:
        value = (value << 5) | ALPHABET.index(character)
    return value
