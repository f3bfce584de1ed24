"""The names and addresses a certificate is for, as Sōzu takes them: subject alternative names, and the common name.

Clients have ceased to look at the common name (RFC 9525 §2), but certificates of private authorities may have no other.
"""

from collections.abc import Iterable

from cryptography.x509 import (
    Certificate,
    DNSName,
    ExtensionNotFound,
    IPAddress,
    SubjectAlternativeName,
)
from cryptography.x509.oid import NameOID

from sozu_trio.config.server_names import canonical_address, canonical_pattern
from sozu_trio.errors import BadCertificate


def names_of(certificate: Certificate) -> tuple[str, ...]:
    """Host names, each once; what no client could ask for is left out. Raises BadCertificate for garbage."""
    named = [] if (alternatives := _alternatives(certificate)) is None else alternatives.get_values_for_type(DNSName)
    common = [str(each.value) for each in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return _each_once(canonical_pattern(name) for name in (*named, *common))


def addresses_of(certificate: Certificate) -> tuple[str, ...]:
    """IP addresses, each once. Raises BadCertificate for garbage."""
    alternatives = _alternatives(certificate)
    if alternatives is None:
        return ()
    return _each_once(canonical_address(str(address)) for address in alternatives.get_values_for_type(IPAddress))


def _alternatives(certificate: Certificate) -> SubjectAlternativeName | None:
    try:
        return certificate.extensions.get_extension_for_class(SubjectAlternativeName).value
    except ExtensionNotFound:
        return None
    except ValueError as error:
        raise BadCertificate(f"the extensions of the certificate cannot be read: {error}") from error


def _each_once(names: Iterable[str | None]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for name in names if name is not None))
