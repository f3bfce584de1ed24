"""The line judge: reads a head one line at a time and refuses it at the first line that is wrong or too long.

Every line is judged once, when it is complete or over its limit, in the order it came; so the verdict never depends on
how the bytes were cut, and a head that trickles in costs no more work than one that comes whole. It knows lines only:
what a request line, a status line or a field must look like is given to it as a function, and what the fields mean is
decided in meaning.py.
"""

import re
from collections.abc import Callable
from typing import Final

TOKEN_BYTES = b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
LINE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*+")
FIELD_NAME = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]++")

LINE_TOO_LONG: Final = "the request line is too long"
HEAD_TOO_LARGE: Final = "the head is too large"
TOO_MANY_FIELDS: Final = "too many fields"

Refuse = Callable[[int, str], Exception]
"""Makes the exception to raise, of a status and a reason."""


class LineJudge:
    """Judges one head, or one trailer section where `first` is None.

    `first` is called with the start line and raises if it is none; `first_limit` is how many bytes that line may have
    without its CRLF, `head_limit` how many the whole head may have, and `field_limit` how many fields. `opening` are
    the bytes a start line can begin with: another one is refused at once, so that whoever speaks TLS here need not
    wait for a line end. One empty line before a request line is skipped (RFC 9112 §2.2) where `skip_empty` says so.
    `loose_colon` lets white space stand before the colon, which a proxy must remove from responses (RFC 9112 §5.1).
    Raises whatever `refuse` makes.
    """

    def __init__(
        self,
        refuse: Refuse,
        *,
        first: Callable[[bytes], None] | None,
        head_limit: int,
        field_limit: int,
        first_limit: int | None = None,
        opening: bytes = b"",
        skip_empty: bool = False,
        loose_colon: bool = False,
    ) -> None:
        self.lines: list[bytes] = []
        """Start line and field lines without CRLF, in order, as far as they have been judged."""
        self.start = 0
        """Where the start line begins: 0, or 2 after an empty line."""
        self._refuse = refuse
        self._first = first
        self._head_limit = head_limit
        self._field_limit = field_limit
        self._first_limit = head_limit if first_limit is None else first_limit
        self._opening = opening
        self._skip_empty = skip_empty
        self._loose_colon = loose_colon
        self._at = 0  # where the line that is not yet judged begins
        self._searched = 0  # up to where it was searched for its end

    def judge(self, buffer: bytes | bytearray) -> int | None:
        """Go on where the last call stopped; `buffer` is the head so far. Its size once complete, None = need more."""
        while (line := self._next_line(buffer)) is not None:
            if line:
                self._judge_line(line)
            elif self.lines or self._first is None:
                return self._at
            elif self._skip_empty and self.start == 0:
                self.start = self._at
            else:
                raise self._refuse(400, "an empty line where the start line should be")
        return None

    def _next_line(self, buffer: bytes | bytearray) -> bytes | None:
        most, status = self._start_window(buffer) if self._awaits_start else (self._head_limit, 431)
        end = buffer.find(b"\n", self._searched, most)
        if end < 0:
            if len(buffer) >= most:
                raise self._refuse(status, LINE_TOO_LONG if status == 414 else HEAD_TOO_LARGE)
            self._searched = len(buffer)
            return None
        line = bytes(buffer[self._at : end])
        self._at = self._searched = end + 1
        if not line.endswith(b"\r"):
            raise self._refuse(400, "a line ends in LF without CR")
        line = line[:-1]
        if LINE.fullmatch(line) is None:
            raise self._refuse(400, "a control character in a line")
        return line

    def _start_window(self, buffer: bytes | bytearray) -> tuple[int, int]:
        """Where the start line must have ended at the latest, and the status if it did not."""
        if len(buffer) > self._at and buffer[self._at] not in self._opening:
            raise self._refuse(400, "this is not HTTP/1")
        most = self._at + self._first_limit + 2
        return (most, 414) if most < self._head_limit else (self._head_limit, 431)

    @property
    def _awaits_start(self) -> bool:
        return self._first is not None and not self.lines

    def _judge_line(self, line: bytes) -> None:
        if self._first is not None and not self.lines:
            self._first(line)
        else:
            self._judge_field(line)
        self.lines.append(line)

    def _judge_field(self, line: bytes) -> None:
        if len(self.lines) - (self._first is not None) >= self._field_limit:
            raise self._refuse(431, TOO_MANY_FIELDS)
        if line[0] in b" \t":
            # A folded value, or the smuggled first field of RFC 9112 §2.2.
            raise self._refuse(400, "a field line begins with white space")
        name, colon, _ = line.partition(b":")
        if self._loose_colon:
            name = name.rstrip(b" \t")
        if not colon:
            raise self._refuse(400, "a field line without a colon")
        if FIELD_NAME.fullmatch(name) is None:
            raise self._refuse(400, "a field name that is no token")


def split_field(line: bytes) -> tuple[bytes, bytes]:
    """Name and value of a field line that the judge let pass."""
    name, _, value = line.partition(b":")
    return name.rstrip(b" \t"), value.strip(b" \t")
