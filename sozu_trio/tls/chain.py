"""Certificates in any order → the leaf first, then whoever signed each, as TLS sends them (RFC 8446 §4.4.2).

The leaf is the one the private key belongs to. Where two authorities share a name and a key, one signed by itself and
one by an older authority, the signed one is taken: it is of use to more clients.
"""

from collections.abc import Sequence
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.x509 import Certificate

from sozu_trio.errors import BadCertificate

LONGEST_CHAIN: Final = 16
"""Certificates: real ones have two to four, and each is held against every other."""


def order_chain(certificates: Sequence[Certificate], public_key: object) -> list[Certificate]:
    """The chain of the one with `public_key`. Raises BadCertificate: none has it, or not all belong to one chain."""
    given = list(dict.fromkeys(certificates))
    if len(given) > LONGEST_CHAIN:
        raise BadCertificate(f"{len(given)} certificates in one chain: want at most {LONGEST_CHAIN}")
    leaf = next((each for each in given if each.public_key() == public_key), None)
    if leaf is None:
        raise BadCertificate(f"the private key does not fit the certificate of {shown(given[0])}")
    chain = [leaf]
    while (issuer := _issuer(chain[-1], given, chain)) is not None:
        chain.append(issuer)
    _check_all_linked(given, chain)
    return chain


def shown(certificate: Certificate) -> str:
    """Whom a certificate is about, for people."""
    return _quoted(certificate.subject.rfc4514_string())


def _quoted(name: str) -> str:
    text = name if name.isprintable() else repr(name)[1:-1]
    return f"`{text[:200]}`"


def _issuer(certificate: Certificate, given: Sequence[Certificate], chain: Sequence[Certificate]) -> Certificate | None:
    if certificate.subject == certificate.issuer:
        return None
    found = [each for each in given if each not in chain and _has_signed(each, certificate)]
    return min(found, key=_signed_by_itself, default=None)


def _signed_by_itself(certificate: Certificate) -> bool:
    return certificate.subject == certificate.issuer


def _has_signed(issuer: Certificate, certificate: Certificate) -> bool:
    if issuer.subject != certificate.issuer:
        return False
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _identity(certificate: Certificate) -> tuple[bytes, CertificatePublicKeyTypes]:
    return certificate.subject.public_bytes(), certificate.public_key()


def _check_all_linked(given: Sequence[Certificate], chain: Sequence[Certificate]) -> None:
    strays = [each for each in given if each not in chain]
    known = [_identity(each) for each in chain] if strays else []
    for stray in strays:
        if _identity(stray) not in known:
            last = chain[-1]
            raise BadCertificate(
                f"the chain does not link: {shown(stray)} has signed none of the certificates before it. The chain"
                f" ends at {shown(last)}, signed by {_quoted(last.issuer.rfc4514_string())}, which is not among them"
                if not _signed_by_itself(last)
                else f"the chain does not link: {shown(stray)} does not belong to it, which is complete with"
                f" {shown(last)}, signed by itself"
            )
