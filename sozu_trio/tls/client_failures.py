"""Why a backend was not reached over TLS: kinds for counters, and words for log and access log."""

import errno
import os
import ssl
from typing import Final

from sozu_trio.errors import HandshakeFailed
from sozu_trio.tls.failures import CLOSED, OTHER, kind_of, reason_of

WORDS: Final = {
    "expired": "the backend's certificate has expired",
    "not_yet_valid": "the backend's certificate is not valid yet",
    "name": "the backend's certificate is for another name",
    "authority": "the backend's certificate is from an unknown authority",
    "fingerprint": "the backend's certificate has another fingerprint",
    "certificate": "the backend's certificate is not good",
    "client_certificate": "the backend does not take our certificate, or wants one",
    "not_tls": "the backend does not speak TLS",
    "version": "no version of TLS in common with the backend",
    "nothing_in_common": "nothing in common with the backend, be it cipher or group, or it wants a certificate of ours",
    "refused": "the backend refused the TLS handshake",
    CLOSED: "the backend ended the connection in the TLS handshake",
    "timeout": "the TLS handshake with the backend took too long",
    OTHER: "the TLS handshake with the backend failed",
}
"""By kind."""

_VERIFY_CODES: Final = {
    9: "not_yet_valid",
    10: "expired",
    **dict.fromkeys((62, 64), "name"),  # of a host, of an IP address
    **dict.fromkeys((2, 7, 18, 19, 20, 21, 24, 27, 33), "authority"),
}
"""OpenSSL's X509_V_ERR_* (x509_vfy.h)."""
_REASONS: Final = {
    **dict.fromkeys(
        (
            *("TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_BAD_CERTIFICATE", "SSLV3_ALERT_CERTIFICATE_EXPIRED"),
            *("SSLV3_ALERT_CERTIFICATE_UNKNOWN", "SSLV3_ALERT_CERTIFICATE_REVOKED", "TLSV1_ALERT_UNKNOWN_CA"),
            *("SSLV3_ALERT_UNSUPPORTED_CERTIFICATE", "SSLV3_ALERT_NO_CERTIFICATE"),
        ),
        "client_certificate",
    ),
    "TLSV1_ALERT_PROTOCOL_VERSION": "version",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "nothing_in_common",
    # What a server says that speaks something else, whatever OpenSSL makes of its first bytes.
    **dict.fromkeys(
        ("WRONG_VERSION_NUMBER", "BAD_RECORD_TYPE", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"), "not_tls"
    ),
}
"""By OpenSSL's reason, where that means something else than at a server."""


def backend_failure(error: OSError) -> HandshakeFailed:
    """What is raised for `error`, which ended a handshake with a backend."""
    kind = client_kind_of(error)
    return HandshakeFailed(kind, f"{WORDS[kind]}{_detail(kind, error)}")


def too_long() -> HandshakeFailed:
    """What is raised where the time was over first."""
    return HandshakeFailed("timeout", WORDS["timeout"])


def client_kind_of(error: OSError) -> str:
    """A key of `WORDS`."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _VERIFY_CODES.get(error.verify_code, "certificate")
    found = _REASONS.get(reason_of(error)) if isinstance(error, ssl.SSLError) else None
    kind = found or kind_of(error)
    return kind if kind in WORDS else OTHER


def _detail(kind: str, error: OSError) -> str:
    """What OpenSSL or the system says, where our words do not say it all."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f" ({error.verify_message})"
    if isinstance(error, ssl.SSLError):
        return f" ({reason_of(error)})" if kind not in ("timeout", CLOSED) else ""
    return f" ({os.strerror(error.errno)})" if error.errno not in (None, errno.ECONNRESET) else ""
