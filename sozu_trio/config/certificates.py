"""Certificates as records: with chain and key, as main has read them and workers use them, and the files of those that
the configuration names. How they are read is told in `tls/reading.py`.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from sozu_trio.config.addresses import Address

KeyKind = Literal["rsa", "ecdsa", "ed25519"]
"""What the private key is; a client may know some kinds and not others."""
DAY: Final = 86400
EXPIRY_DAYS: Final = (30, 7, 1)
"""Days before its end at which a certificate is worth a word to whoever should have renewed it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """One that can be used: its key fits, its chain is in order. Times are seconds since the epoch."""

    fingerprint: str
    """SHA-256 of the DER form of the leaf, in lower-case hexadecimal."""
    names: tuple[str, ...]
    """As `canonical_name` spells them; a first label `*` stands for any one label."""
    addresses: tuple[str, ...]
    """IP addresses, as `ipaddress` spells them."""
    not_before: int
    not_after: int
    key_kind: KeyKind
    subject: str
    """As RFC 4514 writes it, for people."""
    issuer: str
    chain: str
    """PEM: the leaf, then each one's issuer."""
    key: str = field(repr=False)
    """PEM, without a passphrase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerCertificate:
    """A certificate at one https listener."""

    address: Address
    """The listener's."""
    certificate: Certificate
    default: bool = False
    """Shown, too, to clients that ask for a name nobody has a certificate for, or for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateFiles:
    """Where the configuration says that a certificate is; paths are absolute."""

    where: str
    """The place in the file of the table that names them."""
    address: Address
    certificate: Path
    key: Path
    chain: Path | None = None
    default: bool = False


def days_left(certificate: Certificate, now: float) -> int:
    """Whole days until it expires; below 0 once it has."""
    return math.floor((certificate.not_after - now) / DAY)


def expiry_passed(certificate: Certificate, before: float, now: float) -> Iterator[int]:
    """Those of `EXPIRY_DAYS` that began after `before` and not after `now`, so that each is told once."""
    for days in EXPIRY_DAYS:
        if before < certificate.not_after - days * DAY <= now:
            yield days
