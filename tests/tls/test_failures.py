"""Why a handshake failed, in a word for counters and a line for people."""

import ssl

import pytest

from sozu_trio.tls.failures import bad_certificate, handshake_failed, kind_of


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}]")
    error.reason = reason
    return error


def verification_error(message: str) -> ssl.SSLError:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    error.reason = "CERTIFICATE_VERIFY_FAILED"
    error.verify_message = message
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (tls_error("HTTP_REQUEST"), "not_tls"),
        (tls_error("UNSUPPORTED_PROTOCOL"), "version"),
        (tls_error("NO_SHARED_CIPHER"), "nothing_in_common"),
        (tls_error("PEER_DID_NOT_RETURN_A_CERTIFICATE"), "no_certificate"),
        (tls_error("CERTIFICATE_VERIFY_FAILED"), "invalid_certificate"),
        (tls_error("TLSV1_ALERT_UNKNOWN_CA"), "refused"),
        (tls_error("SSLV3_ALERT_BAD_CERTIFICATE"), "refused"),
        (tls_error("SOMETHING_NEW"), "other"),
        (ssl.SSLEOFError(8, "EOF"), "closed"),
        (ConnectionResetError(104, "reset"), "closed"),
    ],
)
def test_kinds(error: OSError, kind: str) -> None:
    assert kind_of(error) == kind
    assert handshake_failed(error).kind == kind


def test_words() -> None:
    said = {
        str(handshake_failed(tls_error("NO_SHARED_CIPHER"))),
        str(handshake_failed(tls_error("SOMETHING_NEW"))),
        str(handshake_failed(ConnectionResetError(104, "Connection reset by peer"))),
        str(handshake_failed(tls_error("CALLBACK_FAILED"), name="who.example\n", unknown=True)),
        str(handshake_failed(tls_error("CALLBACK_FAILED"), unknown=True)),
        str(handshake_failed(tls_error("PEER_DID_NOT_RETURN_A_CERTIFICATE"))),
        str(handshake_failed(verification_error("certificate has expired"))),
        str(bad_certificate("it is too long")),
    }
    assert said == {
        "TLS handshake: no cipher, group or kind of certificate in common (NO_SHARED_CIPHER)",
        "TLS handshake: it failed (SOMETHING_NEW)",
        "TLS handshake: the connection ended before it was done (Connection reset by peer)",
        r"TLS handshake: there is no certificate for the name asked for ('who.example\n')",
        "TLS handshake: there is no certificate for the name asked for (none)",
        "TLS handshake: the other side has shown no certificate",
        "TLS handshake: the certificate of the other side is not good (certificate has expired)",
        "TLS handshake: the certificate of the other side is not good (it is too long)",
    }
