"""One regular expression each for an ordinary request head and an ordinary response head.

It only accepts: whatever it does not match (incomplete, unusual, wrong or over a limit) is for the line judge, so a
refusal is worded in one place. Every match is linear: what is repeated within a line is possessive, and a line cannot
begin as the end of a head does. Groups are not possessive, because CPython before 3.11.5 takes a line that fails for
one that was never tried, and goes on behind it (its issue 106052): the head would end too soon.
"""

import re
from typing import NamedTuple

from sozu_trio.config.limits import HeadLimits
from sozu_trio.wire.heads import Line

TOKEN = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]++"
VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"
# A value with other white space around it than one space before it is left to the judge, so that to trim it costs the
# others nothing.
LINES = rb"((?:" + TOKEN + rb": (?![ \t])" + VALUE + rb"(?<![ \t])\r\n)*)\r\n"

REQUEST = re.compile(rb"(" + TOKEN + rb") ([\x21-\x7e]++) HTTP/1\.([01])\r\n" + LINES)
RESPONSE = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9]) (" + VALUE + rb")\r\n" + LINES)

Request = tuple[bytes, bytes, int, list[Line], int]
Response = tuple[int, int, bytes, list[Line], int]
"""RequestParts and ResponseParts without the names: made and taken apart in a quarter of the time."""


class RequestParts(NamedTuple):
    """A request head as written: nothing in it has been given a meaning yet."""

    method: bytes
    target: bytes
    minor: int
    lines: list[Line]
    size: int


class ResponseParts(NamedTuple):
    """A response head as written."""

    minor: int
    status: int
    reason: bytes
    lines: list[Line]
    size: int


def recognise_request(buffer: bytes, limits: HeadLimits) -> Request | None:
    """The head at the start of `buffer`, or None where it is not an ordinary one within `limits`."""
    found = REQUEST.match(buffer)
    if found is None:
        return None
    method, target, minor, block = found.groups()
    lines: list[Line] = block.split(b"\r\n")
    lines.pop()
    size = found.end()
    if size > limits.head or len(lines) > limits.fields:
        return None
    if size > limits.request_line and found.end(3) > limits.request_line:
        return None
    return method, target, 1 if minor == b"1" else 0, lines, size


def recognise_response(buffer: bytes, limits: HeadLimits) -> Response | None:
    """The head at the start of `buffer`, or None where it is not an ordinary one within `limits`."""
    found = RESPONSE.match(buffer)
    if found is None:
        return None
    minor, status, reason, block = found.groups()
    lines: list[Line] = block.split(b"\r\n")
    lines.pop()
    size = found.end()
    if size > limits.head or len(lines) > limits.fields:
        return None
    return 1 if minor == b"1" else 0, int(status), reason, lines, size
