"""What stands in a PEM file, sorted into certificates and keys (RFC 7468, and RFC 1421 for keys with a passphrase).

What stands between the blocks is left out, as OpenSSL does: many tools write a certificate's text there.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from sozu_trio.errors import BadCertificate

LARGEST_PEM: Final = 1 << 20
"""Bytes of a file: what is larger is no chain and no key."""
_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----\s.*?-----END \1-----", re.DOTALL)
_CERTIFICATES = frozenset({b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"})
_ENCRYPTED = (b"ENCRYPTED PRIVATE KEY", b"\nProc-Type: 4,ENCRYPTED")


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """The PEM blocks of a text, markers included, in their order."""

    certificates: tuple[bytes, ...]
    keys: tuple[bytes, ...] = field(repr=False)


def read_blocks(text: bytes) -> Blocks:
    """Certificates and private keys; other blocks, such as parameters, are left out. Raises BadCertificate for a text
    that is too large.
    """
    if len(text) > LARGEST_PEM:
        raise BadCertificate(f"{len(text):,} bytes are no certificate and no key: want at most {LARGEST_PEM:,}")
    found = [(match[1], match[0] + b"\n") for match in _BLOCK.finditer(text)]
    return Blocks(
        certificates=tuple(block for label, block in found if label in _CERTIFICATES),
        keys=tuple(block for label, block in found if label.endswith(b"PRIVATE KEY")),
    )


def is_encrypted(key: bytes) -> bool:
    """Whether a block with a private key asks for a passphrase."""
    return any(mark in key for mark in _ENCRYPTED)
