"""Who a request is for: the `host[:port]` of Host and of absolute-form targets (RFC 3986 §3.2, RFC 9112 §3.2).

Routes are found by the host alone, so it comes out in one canonical spelling. User information is refused: no client
sends it, and what stands before an `@` has fooled many parsers.
"""

import ipaddress
import re
from typing import Final

from sozu_trio.errors import RequestRefused

AUTHORITY = re.compile(
    rb"(?:((?:[-A-Za-z0-9._~!$&'()*+,;=]++|%[0-9A-Fa-f]{2})+)|\[([0-9A-Fa-f:.]++)\])(?::([0-9]{1,5}))?",
)
ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]*+)([^#]*+)")

FRAGMENT: Final = ord("#")
"""What begins one. As a number: to seek bytes takes Python ten times as long, since it first takes them for one."""
LONGEST_KNOWN = 261
"""Bytes of a name at its longest (RFC 1035 §2.3.4) and a port: what is longer is not worth memory."""
MOST_KNOWN = 1024
_known: dict[bytes, bytes] = {}
"""Valid authorities seen lately and their hosts, because a proxy is asked for the same few all day long."""


def host_of(authority: bytes) -> bytes:
    """The host in lower case without port and trailing dot, an IPv6 literal bracketed and in canonical form.

    Raises RequestRefused (400): no host, a port outside 1–65535 or left empty, characters no host has.
    """
    host = _known.get(authority)
    if host is None:
        host = _read_host(authority)
        if len(authority) <= LONGEST_KNOWN:
            # All at once: a client that makes names up costs the others one reading each, and no order is kept.
            if len(_known) >= MOST_KNOWN:
                _known.clear()
            _known[authority] = host
    return host


def _read_host(authority: bytes) -> bytes:
    found = AUTHORITY.fullmatch(authority)
    if found is None:
        raise RequestRefused(400, "the host is not valid")
    name, literal, port = found.groups()
    if port is not None and not 1 <= int(port) <= 65535:
        raise RequestRefused(400, "the port of the host is not valid")
    if literal is not None:
        return _canonical(literal)
    host: bytes = name.lower().removesuffix(b".")
    if not host:
        raise RequestRefused(400, "the host is empty")
    return host


def _canonical(literal: bytes) -> bytes:
    try:
        address = ipaddress.IPv6Address(literal.decode("ascii"))
    except ValueError:
        raise RequestRefused(400, "the host is not a valid IPv6 literal") from None
    return b"[%b]" % str(address).encode("ascii")


def read_target(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """The target to forward and the authority it names, empty for origin-form and `*` (RFC 9112 §3.2).

    Raises RequestRefused: 405 for CONNECT, 400 for anything that is none of the three forms.
    """
    if method == b"CONNECT":
        raise RequestRefused(405, "CONNECT is not supported")
    if FRAGMENT in target:
        raise RequestRefused(400, "a fragment in the target")
    if target[:1] == b"/":
        return target, b""
    if target == b"*" and method == b"OPTIONS":
        return target, b""
    found = ABSOLUTE.fullmatch(target)
    if found is None:
        raise RequestRefused(400, "the target is neither a path nor an http URI")
    authority, rest = found.groups()
    if not authority:
        raise RequestRefused(400, "the target names no host")
    if not rest:
        # RFC 9112 §3.2.4: OPTIONS without a path asks about the server, not about "/".
        return (b"*" if method == b"OPTIONS" else b"/"), authority
    return (rest if rest.startswith(b"/") else b"/" + rest), authority
