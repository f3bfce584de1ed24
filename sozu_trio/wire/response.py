"""Reads response heads: the recogniser first, the line judge for whatever it does not know, as request.py does.

A backend is trusted no more than a client: what could be read in two ways is no response, the client gets 502 and the
connection is not used again. Only white space before a colon is mended, as RFC 9112 §5.1 asks of a proxy.
"""

import re

from sozu_trio.config.limits import HeadLimits
from sozu_trio.errors import BadResponse
from sozu_trio.wire.field_lines import line_of
from sozu_trio.wire.heads import ResponseHead
from sozu_trio.wire.lines import LineJudge, split_field
from sozu_trio.wire.meaning import understand_response
from sozu_trio.wire.recognise import ResponseParts, recognise_response
from sozu_trio.wire.second_opinion import confirm_response

# Servers that leave out the reason also leave out the space before it, which RFC 9112 §4 wants.
STATUS_LINE = re.compile(rb"HTTP/1\.([0-9]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*+))?")


class ResponseParser:
    """Reads the responses to one request, interim ones first, one head after the other."""

    __slots__ = ("_foreseen", "_judge", "_limits", "_method", "_searched")

    def __init__(self, limits: HeadLimits, method: bytes) -> None:
        """`method` is the request's: an answer to HEAD has no body."""
        self._limits = limits
        self._method = method
        self._judge: LineJudge | None = None
        self._searched = 0  # up to where the buffer was searched for the end of the head
        self._foreseen: tuple[bytes, ResponseHead] | None = None  # a buffer and the head it begins with

    def foresee(self, buffer: bytes) -> None:
        """At the beginning of a message: read an ordinary head that is all there, for the `parse` of this very `buffer`
        that comes next. May raise what that will.
        """
        if self._judge is not None:
            return
        parts = recognise_response(buffer, self._limits)
        if parts is not None:
            self._foreseen = buffer, understand_response(parts, self._method)

    def parse(self, buffer: bytes) -> ResponseHead | None:
        """Read the head at the start of `buffer`, which holds every byte since the message began; None = need more.

        After a head, an interim one (1xx) too, the parser is ready for the next, after a refusal it is of no further
        use. Raises BadResponse.
        """
        foreseen, self._foreseen = self._foreseen, None
        if foreseen is not None and foreseen[0] is buffer:
            return foreseen[1]
        # A head that comes whole, as nearly all do, needs no search for its end: the recogniser finds it or fails.
        if self._judge is None or buffer.find(b"\r\n\r\n", self._searched) >= 0:
            parts = recognise_response(buffer, self._limits)
            if parts is not None:
                if self._judge is not None:
                    self._forget()
                return understand_response(parts, self._method)
        self._searched = max(0, len(buffer) - 3)
        return self.parse_strictly(buffer)

    def parse_strictly(self, buffer: bytes) -> ResponseHead | None:
        """As `parse`, but without the recogniser, which must never come to another result."""
        judge = self._judge or self._new_judge()
        size = judge.judge(buffer)
        if size is None:
            return None
        parts = read_response_lines(judge.lines, size)
        head = understand_response(parts, self._method)
        confirm_response(mended(judge.lines[0], parts), parts, self._method)
        self._forget()
        return head

    def _new_judge(self) -> LineJudge:
        self._judge = LineJudge(
            refuse_response,
            first=judge_status_line,
            head_limit=self._limits.head,
            field_limit=self._limits.fields,
            opening=b"H",
            loose_colon=True,
        )
        return self._judge

    def _forget(self) -> None:
        self._judge = None
        self._searched = 0


def refuse_response(status: int, reason: str) -> BadResponse:
    """To the client every fault of a backend is the same, whatever `status` a request would get for it."""
    return BadResponse(reason)


def judge_status_line(line: bytes) -> None:
    """Raises BadResponse for what is no status line of HTTP/1 (RFC 9112 §4) or a status below 100."""
    if STATUS_LINE.fullmatch(line) is None:
        raise BadResponse("the status line is malformed")


def read_response_lines(lines: list[bytes], size: int) -> ResponseParts:
    """The parts of a head that the judge let pass; HTTP/1.2 and above are read as 1.1 (RFC 9110 §2.5)."""
    version, status, *reason = lines[0].split(b" ", 2)
    minor = 0 if version == b"HTTP/1.0" else 1
    judged = [line_of(split_field(line)) for line in lines[1:]]
    return ResponseParts(minor, int(status), reason[0] if reason else b"", judged, size)


def mended(status_line: bytes, parts: ResponseParts) -> bytes:
    """The head as it should have been written, without white space before colons."""
    return b"\r\n".join([status_line, *parts.lines, b"", b""])
