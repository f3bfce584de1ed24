"""Why a backend was not reached over TLS, told apart."""

import errno
import os
import ssl

import pytest

from sozu_trio.tls.client_failures import WORDS, backend_failure, too_long
from tests.tls.test_failures import tls_error


def not_verified(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    error.verify_code, error.verify_message = code, message
    error.reason = "CERTIFICATE_VERIFY_FAILED"
    return error


@pytest.mark.parametrize(
    ("error", "kind", "detail"),
    [
        (not_verified(10, "certificate has expired"), "expired", "certificate has expired"),
        (not_verified(9, "not yet"), "not_yet_valid", "not yet"),
        (not_verified(62, "Hostname mismatch"), "name", "Hostname mismatch"),
        (not_verified(64, "IP address mismatch"), "name", "IP address mismatch"),
        (not_verified(18, "self-signed certificate"), "authority", "self-signed certificate"),
        (not_verified(20, "no issuer"), "authority", "no issuer"),
        (not_verified(23, "certificate revoked"), "certificate", "certificate revoked"),
        (tls_error("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "client_certificate", "TLSV13_ALERT_CERTIFICATE_REQUIRED"),
        (tls_error("TLSV1_ALERT_UNKNOWN_CA"), "client_certificate", "TLSV1_ALERT_UNKNOWN_CA"),
        (tls_error("WRONG_VERSION_NUMBER"), "not_tls", "WRONG_VERSION_NUMBER"),
        (tls_error("TLSV1_ALERT_PROTOCOL_VERSION"), "version", "TLSV1_ALERT_PROTOCOL_VERSION"),
        (tls_error("SSLV3_ALERT_HANDSHAKE_FAILURE"), "nothing_in_common", "SSLV3_ALERT_HANDSHAKE_FAILURE"),
        (tls_error("TLSV1_ALERT_INTERNAL_ERROR"), "refused", "TLSV1_ALERT_INTERNAL_ERROR"),
        (tls_error("SOMETHING_NEW"), "other", "SOMETHING_NEW"),
        (ssl.SSLEOFError(8, "EOF"), "closed", ""),
        (ConnectionResetError(errno.ECONNRESET, "reset"), "closed", ""),
        (BrokenPipeError(errno.EPIPE, "pipe"), "closed", os.strerror(errno.EPIPE)),
    ],
)
def test_kinds_and_words(error: OSError, kind: str, detail: str) -> None:
    failed = backend_failure(error)
    assert (failed.kind, str(failed)) == (kind, f"{WORDS[kind]} ({detail})" if detail else WORDS[kind])


def test_what_took_too_long() -> None:
    assert (too_long().kind, str(too_long())) == ("timeout", "the TLS handshake with the backend took too long")
