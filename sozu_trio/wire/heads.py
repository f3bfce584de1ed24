"""The two message heads as records, already stripped of what concerns only the connection they came on.

They are what the rest of the program sees of HTTP/1.1; HTTP/2 will fill in the same records. Everything is bytes, as
it came.
"""

import enum
from dataclasses import dataclass

Field = tuple[bytes, bytes]
"""Name as it was sent, value without surrounding SP and HTAB."""
Line = bytes
"""A field as we write it: its name, a colon, one space, its value without white space around it; no line end."""


class Framing(enum.Enum):
    """How the end of a body is known (RFC 9112 §6.3)."""

    NONE = "none"
    LENGTH = "length"
    CHUNKED = "chunked"
    CLOSE = "close"
    """Responses only: the body ends with the connection."""


# To look a member up in its enum takes 50 ns in Python 3.11, and every head would do it several times.
NO_BODY, LENGTH, CHUNKED, CLOSE = Framing.NONE, Framing.LENGTH, Framing.CHUNKED, Framing.CLOSE


@dataclass(slots=True)
class RequestHead:
    """What a client asks for."""

    method: bytes
    target: bytes
    """What to forward: origin-form, or `*`. An absolute-form target was turned into origin-form."""
    authority: bytes
    """What Host must say. Empty only for HTTP/1.0 without Host."""
    host: bytes
    """`authority` without port and trailing dot, lower case; an IPv6 literal in brackets and in canonical form."""
    path: bytes
    """`target` up to the question mark."""
    minor: int
    """0 or 1; HTTP/1.2 and above count as 1.1."""
    lines: list[Line]
    """End-to-end fields in order: no Host, framing, Expect, hop-by-hop, Connection-named or forwarding field."""
    forwarding: list[Field]
    """X-Forwarded-*, Forwarded, X-Real-IP, X-Request-Id, names in lower case: whether to believe them is policy."""
    framing: Framing
    length: int
    """Bytes of the body for `Framing.LENGTH`, else -1."""
    keep_alive: bool
    expects_continue: bool
    """The client waits for 100 (Continue) before it sends its body. Never without a body."""
    upgrade: bytes
    """Protocols of Upgrade where Connection names it on HTTP/1.1, else empty."""
    te_trailers: bool
    user_agent: bytes
    max_forwards: int
    """Max-Forwards of TRACE and OPTIONS, which is then not in `lines`; else -1."""
    size: int
    """Bytes of the buffer that the head took, a leading empty line included."""
    unusual: bool
    """`lines` may have a name that is not in `field_names.USUAL`."""


@dataclass(slots=True)
class ResponseHead:
    """What a backend answers."""

    status: int
    reason: bytes
    minor: int
    lines: list[Line]
    """End-to-end fields in order, without framing, hop-by-hop and Connection-named fields."""
    framing: Framing
    length: int
    """Content-Length as declared, also where no body follows (HEAD, 304); -1 without one."""
    keep_alive: bool
    upgrade: bytes
    """Protocols of Upgrade where Connection names it, else empty."""
    size: int
    """Bytes of the buffer that the head took."""
    unusual: bool
    """`lines` may have a name that is not in `field_names.USUAL`."""
