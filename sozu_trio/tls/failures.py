"""Why a handshake failed: OpenSSL's reasons, sorted into a few kinds for counters, in words for the log."""

import ssl
from typing import Final

from sozu_trio.errors import HandshakeFailed

CLOSED: Final = "closed"
"""The other side went away, or never said a word."""
UNKNOWN_NAME: Final = "unknown_name"
NO_CERTIFICATE: Final = "no_certificate"
"""The other side has shown none, and must."""
INVALID_CERTIFICATE: Final = "invalid_certificate"
"""That of the other side is not good."""
OTHER: Final = "other"

KINDS: Final = {
    **dict.fromkeys(("HTTP_REQUEST", "HTTPS_PROXY_REQUEST", "WRONG_VERSION_NUMBER"), "not_tls"),
    **dict.fromkeys(("UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "NO_PROTOCOLS_AVAILABLE"), "version"),
    **dict.fromkeys(
        ("NO_SHARED_CIPHER", "NO_SHARED_GROUP", "NO_SUITABLE_KEY_SHARE", "NO_SUITABLE_SIGNATURE_ALGORITHM"),
        "nothing_in_common",
    ),
    **dict.fromkeys(("NO_SHARED_SIGNATURE_ALGORITHMS", "NO_CIPHERS_AVAILABLE"), "nothing_in_common"),
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": NO_CERTIFICATE,
    "CERTIFICATE_VERIFY_FAILED": INVALID_CERTIFICATE,
    "UNEXPECTED_EOF_WHILE_READING": CLOSED,
}
"""By OpenSSL's reason."""
WORDS: Final = {
    CLOSED: "the connection ended before it was done",
    UNKNOWN_NAME: "there is no certificate for the name asked for",
    "not_tls": "what came is not TLS",
    "version": "no version of TLS in common",
    "nothing_in_common": "no cipher, group or kind of certificate in common",
    NO_CERTIFICATE: "the other side has shown no certificate",
    INVALID_CERTIFICATE: "the certificate of the other side is not good",
    "refused": "the other side refused",
}


def handshake_failed(error: OSError, *, name: str | None = None, unknown: bool = False) -> HandshakeFailed:
    """What is raised for `error`; `unknown`: there was nothing to show for `name`, which the client asked for."""
    kind = UNKNOWN_NAME if unknown else kind_of(error)
    reason = reason_of(error) if isinstance(error, ssl.SSLError) else error.strerror
    asked = f" ({name!r})" if unknown and name is not None else " (none)" if unknown else ""
    if isinstance(error, ssl.SSLCertVerificationError):
        reason = error.verify_message
    detail = asked or (f" ({reason})" if reason and kind != NO_CERTIFICATE else "")
    return HandshakeFailed(kind, f"TLS handshake: {WORDS.get(kind, 'it failed')}{detail}")


def bad_certificate(why: str) -> HandshakeFailed:
    """What is raised for a certificate that OpenSSL has let pass, and we do not."""
    return HandshakeFailed(INVALID_CERTIFICATE, f"TLS handshake: {WORDS[INVALID_CERTIFICATE]} ({why})")


def kind_of(error: OSError) -> str:
    """One of a few words: `closed`, `refused` (by an alert of the other side), a value of `KINDS`, or `other`."""
    if not isinstance(error, ssl.SSLError) or isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return CLOSED
    reason = reason_of(error)
    # `TLSV1_ALERT_UNKNOWN_CA` and their like are alerts that came.
    return "refused" if "_ALERT_" in reason else KINDS.get(reason, OTHER)


def reason_of(error: ssl.SSLError) -> str:
    """OpenSSL's name for it, else the text; errors that Python makes itself have no reason."""
    return getattr(error, "reason", None) or error.strerror or ""
