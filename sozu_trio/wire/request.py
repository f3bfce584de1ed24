"""Reads request heads: the recogniser first, the line judge for whatever it does not know.

An ordinary head that is complete takes one regular expression. Anything else (incomplete, unusual, wrong) is judged
line by line, so that a bad one is refused as soon as its bad line is there, and then read by h11 as well before it is
believed.
"""

import re

from sozu_trio.config.limits import HeadLimits
from sozu_trio.errors import RequestRefused
from sozu_trio.wire.field_lines import line_of
from sozu_trio.wire.heads import RequestHead
from sozu_trio.wire.lines import TOKEN_BYTES, LineJudge, split_field
from sozu_trio.wire.meaning import understand_request
from sozu_trio.wire.recognise import RequestParts, recognise_request
from sozu_trio.wire.second_opinion import confirm_request

REQUEST_LINE = re.compile(rb"([-!#$%&'*+.^_`|~0-9A-Za-z]++) ([\x21-\x7e]++) HTTP/([0-9])\.([0-9])")


class RequestParser:
    """Reads the requests of one connection, one head after the other."""

    __slots__ = ("_foreseen", "_judge", "_limits", "_searched")

    def __init__(self, limits: HeadLimits) -> None:
        self._limits = limits
        self._judge: LineJudge | None = None
        self._searched = 0  # up to where the buffer was searched for the end of the head
        self._foreseen: tuple[bytes, RequestHead] | None = None  # a buffer and the head it begins with

    def foresee(self, buffer: bytes) -> None:
        """At the beginning of a message: read an ordinary head that is all there, for the `parse` of this very `buffer`
        that comes next. May raise what that will.
        """
        if self._judge is not None:
            return
        parts = recognise_request(buffer, self._limits)
        if parts is not None:
            self._foreseen = buffer, understand_request(parts)

    def parse(self, buffer: bytes) -> RequestHead | None:
        """Read the head at the start of `buffer`, which holds every byte since the message began; None = need more.

        After a head the parser is ready for the next message, after a refusal it is of no further use.
        Raises RequestRefused: 400, 405, 414, 417, 431, 501 or 505.
        """
        foreseen, self._foreseen = self._foreseen, None
        if foreseen is not None and foreseen[0] is buffer:
            return foreseen[1]
        # A head that comes whole, as nearly all do, needs no search for its end: the recogniser finds it or fails.
        if self._judge is None or buffer.find(b"\r\n\r\n", self._searched) >= 0:
            parts = recognise_request(buffer, self._limits)
            if parts is not None:
                if self._judge is not None:
                    self._forget()
                return understand_request(parts)
        self._searched = max(0, len(buffer) - 3)
        return self.parse_strictly(buffer)

    def parse_strictly(self, buffer: bytes) -> RequestHead | None:
        """As `parse`, but without the recogniser, which must never come to another result."""
        judge = self._judge or self._new_judge()
        size = judge.judge(buffer)
        if size is None:
            return None
        parts = read_request_lines(judge.lines, size)
        head = understand_request(parts)
        confirm_request(buffer[judge.start : size], parts)
        self._forget()
        return head

    def _new_judge(self) -> LineJudge:
        self._judge = LineJudge(
            RequestRefused,
            first=judge_request_line,
            first_limit=self._limits.request_line,
            opening=b"\r" + TOKEN_BYTES,
            head_limit=self._limits.head,
            field_limit=self._limits.fields,
            skip_empty=True,
        )
        return self._judge

    def _forget(self) -> None:
        self._judge = None
        self._searched = 0


def judge_request_line(line: bytes) -> None:
    """Raises RequestRefused: 505 for another major version, 400 for what is no request line (RFC 9112 §3)."""
    found = REQUEST_LINE.fullmatch(line)
    if found is None:
        raise RequestRefused(400, "the request line is malformed")
    if found.group(3) != b"1":
        raise RequestRefused(505, "a version of HTTP that is not supported")


def read_request_lines(lines: list[bytes], size: int) -> RequestParts:
    """The parts of a head that the judge let pass; HTTP/1.2 and above are read as 1.1 (RFC 9110 §2.5)."""
    method, target, version = lines[0].split(b" ")
    minor = 0 if version == b"HTTP/1.0" else 1
    return RequestParts(method, target, minor, [line_of(split_field(line)) for line in lines[1:]], size)
