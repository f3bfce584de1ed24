"""The authorities that sign certificates of clients, out of one PEM file. Used by main alone.

Each is trusted by itself: who names one that another one has signed means that one, not all of those above it.
"""

import ssl
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sozu_trio.errors import BadCertificate
from sozu_trio.tls.chain import shown
from sozu_trio.tls.reading import read_all

MOST_AUTHORITIES: Final = 50
"""Every context of a certificate in use has all of them: 4 KiB each, and 0.15 ms of a worker's loop to make it."""


def read_authorities(text: bytes) -> str:
    """All of them as PEM, each once, without what else stands in `text`. Raises BadCertificate."""
    found = list(dict.fromkeys(read_all(text)))
    if len(found) > MOST_AUTHORITIES:
        raise BadCertificate(f"{len(found):,} authorities: want at most {MOST_AUTHORITIES}")
    for each in found:
        _check_authority(each)
    pem = b"".join(each.public_bytes(Encoding.PEM) for each in found).decode("ascii")
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_verify_locations(cadata=pem)
    except ssl.SSLError as error:
        raise BadCertificate(f"OpenSSL does not take these authorities: {error.reason}") from error
    return pem


def _check_authority(certificate: x509.Certificate) -> None:
    """OpenSSL would load it and then find that it may not have signed anything (RFC 5280 §4.2.1.3, §4.2.1.9)."""
    try:
        extensions = certificate.extensions
        is_authority = any(isinstance(each.value, x509.BasicConstraints) and each.value.ca for each in extensions)
        usages = [each.value for each in extensions if isinstance(each.value, x509.KeyUsage)]
    except ValueError as error:
        raise BadCertificate(f"the extensions of {shown(certificate)} cannot be read: {error}") from error
    if not is_authority:
        raise BadCertificate(
            f"{shown(certificate)} is no authority: want certificates whose basic constraints say CA, not those of"
            " clients"
        )
    if not all(usage.key_cert_sign for usage in usages):
        raise BadCertificate(f"{shown(certificate)} may sign no certificates, as its key usage says")
