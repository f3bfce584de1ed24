"""Where a body ends, from Content-Length and Transfer-Encoding (RFC 9112 §6): the one place where both are read.

Whatever two recipients could read in two ways is refused, which is all there is to request smuggling.
"""

from sozu_trio.errors import BadResponse, RequestRefused
from sozu_trio.wire.heads import CHUNKED, CLOSE, LENGTH, NO_BODY, Framing

MOST_DIGITS = 18  # they fit 63 bits, so every recipient counts alike
KNOWN_CODINGS = frozenset({b"chunked", b"gzip", b"x-gzip", b"deflate", b"compress", b"x-compress", b"identity"})
CHUNKED_CODING = b"chunked"


def request_framing(lengths: list[bytes] | None, codings: list[bytes] | None, minor: int) -> tuple[Framing, int]:
    """Framing and length of a request, from the values of its Content-Length and Transfer-Encoding (None = no such
    field).

    Raises RequestRefused: 400 or 501.
    """
    if codings is None:
        if lengths is None:
            return NO_BODY, -1
        length = read_length(lengths)
        if length < 0:
            raise RequestRefused(400, "Content-Length is not one number")
        return LENGTH, length
    if lengths is not None:
        raise RequestRefused(400, "both Transfer-Encoding and Content-Length")
    if minor == 0:
        raise RequestRefused(400, "Transfer-Encoding in HTTP/1.0")
    if not is_chunked(codings):
        raise _refuse_codings(b",".join(codings).lower().split(b","))
    return CHUNKED, -1


def response_framing(
    lengths: list[bytes] | None,
    codings: list[bytes] | None,
    minor: int,
    *,
    bodiless: bool,
) -> tuple[Framing, int]:
    """Framing and declared length of a response; `bodiless` means to HEAD, 1xx, 204 or 304. Raises BadResponse."""
    length = -1 if lengths is None else read_length(lengths)
    if lengths is not None and length < 0:
        raise BadResponse("Content-Length is not one number")
    if codings is not None:
        if lengths is not None:
            raise BadResponse("both Transfer-Encoding and Content-Length")
        if minor == 0:
            raise BadResponse("Transfer-Encoding in HTTP/1.0")
        if not is_chunked(codings):
            raise BadResponse("a transfer coding other than chunked")
    if bodiless:
        return NO_BODY, length
    if codings is not None:
        return CHUNKED, -1
    return (CLOSE, -1) if lengths is None else (LENGTH, length)


def read_length(values: list[bytes]) -> int:
    """The one number that all `values`, lists too, agree on (RFC 9110 §8.6 lets equal ones be merged); -1 if none."""
    if len(values) == 1 and (value := values[0]).isdigit() and len(value) <= MOST_DIGITS:
        return int(value)  # As nearly always, and so without a call.
    numbers = {number.strip(b" \t") for value in values for number in value.split(b",")}
    number = numbers.pop()
    return int(number) if not numbers and _is_number(number) else -1


def _is_number(value: bytes) -> bool:
    return value.isdigit() and len(value) <= MOST_DIGITS  # of bytes, isdigit takes ASCII digits only


def is_chunked(values: list[bytes]) -> bool:
    """Whether the only transfer coding is `chunked`, once and without parameters."""
    return len(values) == 1 and values[0].lower() == CHUNKED_CODING


def _refuse_codings(codings: list[bytes]) -> RequestRefused:
    """400 where the body has no known end (RFC 9112 §6.3), 501 where only the coding is unknown to us (§6.1)."""
    codings = [coding.strip(b" \t") for coding in codings]
    names = [coding.partition(b";")[0].rstrip(b" \t") for coding in codings]
    if b"" in names:
        return RequestRefused(400, "an empty transfer coding")
    if CHUNKED_CODING in names and (codings[-1] != CHUNKED_CODING or names.count(CHUNKED_CODING) > 1):
        return RequestRefused(400, "chunked is not the last transfer coding, or not alone in its place")
    if CHUNKED_CODING not in names and KNOWN_CODINGS.issuperset(names):
        return RequestRefused(400, "the last transfer coding is not chunked")
    return RequestRefused(501, "a transfer coding that is not implemented")
