"""Field names that mean something to a proxy, in lower case, each set with the reason it exists.

Only names stand here; what their values mean is decided in meaning.py and framing.py.
"""

from sozu_trio.config.plain_names import PLAIN

HOP_BY_HOP = frozenset(
    {b"connection", b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding", b"upgrade", b"http2-settings"},
)
"""Never forwarded: they speak of one connection (RFC 9110 §7.6.1, RFC 9113 §8.2.2)."""

FORWARDING = frozenset({b"forwarded", b"x-real-ip", b"x-request-id"})
FORWARDING_PREFIX = b"x-forwarded-"
"""Who came before us, as the sender says; kept apart, because only trusted peers are believed."""

NOT_AN_OPTION = frozenset({b"host", b"content-length", b"via"})
"""What Connection cannot remove, beside forwarding fields: a backend must see them whatever the client lists."""

_SPECIAL = (
    b"Host", b"Connection", b"Content-Length", b"Transfer-Encoding", b"User-Agent", b"Expect", b"Upgrade", b"TE",
    b"Keep-Alive", b"X-Forwarded-For", b"X-Forwarded-Proto", b"X-Real-IP", b"X-Request-ID",
)  # fmt: skip
LOWERED = {spelling: name.lower() for name in _SPECIAL for spelling in (name, name.title(), name.lower())}
"""Usual spellings of fields that do need a look, to their names in lower case: found faster than made."""

_COMMON = (
    "Accept Accept-Encoding Accept-Language Accept-Ranges Age Authorization Cache-Control Content-Encoding "
    "Content-Type Cookie DNT Date ETag Expires If-Modified-Since If-None-Match Last-Modified Location Origin "
    "Pragma Priority Range Referer Sec-CH-UA Sec-CH-UA-Mobile Sec-CH-UA-Platform Sec-Fetch-Dest Sec-Fetch-Mode "
    "Sec-Fetch-Site Sec-Fetch-User Sec-WebSocket-Key Sec-WebSocket-Version Server Set-Cookie "
    "Strict-Transport-Security Upgrade-Insecure-Requests Vary X-Requested-With"
)
ORDINARY = frozenset(spelling.encode() for name in _COMMON.split() for spelling in (name, name.title(), name.lower()))
"""End-to-end fields as browsers and servers spell them, which need no further look: it halves the time of a head."""
USUAL = frozenset(name.translate(PLAIN) for name in ORDINARY) | {b"user-agent"}
"""What a head that is not `unusual` has, as PLAIN spells it: who seeks any other name need not look there."""

NEVER_IN_TRAILERS = HOP_BY_HOP | FORWARDING | frozenset(
    {
        # Framing and routing: what comes after the body must not move its end or its destination.
        b"content-length", b"trailer", b"host", b"via", b"max-forwards",
        # Request modifiers and response control.
        b"expect", b"range", b"if-match", b"if-none-match", b"if-modified-since", b"if-unmodified-since", b"if-range",
        b"age", b"cache-control", b"pragma", b"expires", b"date", b"location", b"retry-after", b"vary", b"warning",
        # Who speaks.
        b"authorization", b"proxy-authorization", b"www-authenticate", b"proxy-authenticate", b"authentication-info",
        b"proxy-authentication-info", b"cookie", b"set-cookie", b"origin", b"referer",
        # How to read the content. Content-Digest and Content-MD5 stay: only the end of a body knows them (RFC 9530).
        b"content-type", b"content-encoding", b"content-range", b"content-language", b"content-location",
        b"content-disposition", b"content-security-policy", b"strict-transport-security",
    },
)  # fmt: skip
"""Dropped from trailer sections, where a recipient that merges trailers would be misled (RFC 9110 §6.5.1)."""


def is_forwarding(name: bytes) -> bool:
    """Whether the lower-case `name` tells where a message came from."""
    return name.startswith(FORWARDING_PREFIX) or name in FORWARDING


def is_lookalike(name: bytes) -> bool:
    """Whether the lower-case `name` is one a gateway interface would take for a field we decide on."""
    meant = name.translate(PLAIN)
    if meant == name:
        return False
    return meant in HOP_BY_HOP or meant in NOT_AN_OPTION or is_forwarding(meant)


def belongs_in_trailers(name: bytes) -> bool:
    """Whether a trailer field with the lower-case `name` may be passed on."""
    return name not in NEVER_IN_TRAILERS and not is_forwarding(name) and not is_lookalike(name)
