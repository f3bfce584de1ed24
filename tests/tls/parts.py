"""Authorities and certificates of any kind, for tests: quick to make, and of any age."""

import functools
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256, HashAlgorithm
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from sozu_trio.config.certificates import Certificate
from sozu_trio.tls.reading import read_certificate

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC).timestamp()
"""A moment at which certificates are valid that do not say otherwise."""


@functools.cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """Always the same one: to make one takes a tenth of a second or more."""
    return rsa.generate_private_key(65537, bits)


def key_of_kind(kind: str) -> Any:
    if kind == "rsa":
        return rsa_key()
    return ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())


@dataclass(kw_only=True)
class Issued:
    """A certificate as its authority hands it out."""

    certificate: x509.Certificate
    key: Any
    issuers: tuple["Issued", ...] = field(default=(), repr=False)
    """From the one that signed it to the root."""

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key_in(PrivateFormat.PKCS8)

    def key_in(self, form: PrivateFormat, passphrase: bytes | None = None) -> bytes:
        protection = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        pem: bytes = self.key.private_bytes(Encoding.PEM, form, protection)
        return pem

    @property
    def chain_pem(self) -> bytes:
        """Without the root, as it is sent."""
        return self.pem + b"".join(each.pem for each in self.issuers[:-1])

    def read(self, now: float | None = NOW) -> Certificate:
        return read_certificate(self.chain_pem, self.key_pem, now)


def issue(
    *names: str,
    by: Issued | None = None,
    key: Any = None,
    common_name: str = "",
    authority: bool = False,
    begin: float = NOW - 86400,
    end: float = NOW + 86400 * 90,
    digest: HashAlgorithm | None = None,
    subject: x509.Name | None = None,
    extensions: Sequence[x509.ExtensionType] = (),
) -> Issued:
    """A certificate for DNS names and IP addresses, signed by `by` or by itself."""
    key = key or key_of_kind("ecdsa")
    subject = subject or x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])
    issuer = by.certificate.subject if by else subject
    builder = (
        x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(_time(begin))
        .not_valid_after(_time(end))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(name) for name in names]), critical=False)
    for each in extensions:
        builder = builder.add_extension(each, critical=False)
    signer = by.key if by else key
    plain = isinstance(signer, ed25519.Ed25519PrivateKey)
    signed = builder.sign(signer, None if plain else digest or SHA256())  # type: ignore[arg-type]
    return Issued(certificate=signed, key=key, issuers=(by, *by.issuers) if by else ())


def authorities(*names: str) -> Sequence[Issued]:
    """A root, and under it one authority after the other."""
    made: list[Issued] = []
    for name in names:
        made.append(issue(common_name=name, by=made[-1] if made else None, authority=True))
    return made


def _general(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)
