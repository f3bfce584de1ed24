"""Who a client is, by the certificate that it has shown and OpenSSL has found good.

Workers read it with what `ssl` says of it: `cryptography` would cost each of them 9 MB.
"""

import hashlib
import ipaddress
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sozu_trio.tls.failures import bad_certificate

LONGEST: Final = 4096
"""Bytes in UTF-8 of a subject, and of all alternative names: what is longer fits into no head, and cut short it could
be somebody else."""
_SHORT: Final = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
    "streetAddress": "STREET",
    "userId": "UID",
}
"""OpenSSL's names → those of RFC 4514 §3."""
_ALTERNATIVES: Final = {"DNS": "DNS", "IP Address": "IP", "URI": "URI", "email": "email"}
"""Kinds as `ssl` calls them → as we do; others are left out."""

Names = Sequence[Sequence[tuple[str, str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientIdentity:
    """What a certificate says of the client."""

    subject: str
    """As RFC 4514 writes it, with the names of OpenSSL for what that has none for; may be empty."""
    alternatives: tuple[tuple[str, str], ...]
    """Pairs such as ("DNS", "a.example"), also of IP, URI and email, in the order of the certificate."""
    fingerprint: str
    """SHA-256 of its DER form, in lower-case hexadecimal."""
    not_after: float
    """The last moment it is valid, in seconds since the epoch."""


def client_identity(sock: ssl.SSLSocket, *, required: bool, now: float) -> ClientIdentity | None:
    """That of the client of `sock`, after its handshake; None for one without a certificate, where none is `required`.

    `now` in seconds since the epoch: in a session that is resumed nothing was verified again, and its certificate may
    have expired since. Raises HandshakeFailed.
    """
    der = sock.getpeercert(binary_form=True)
    if der is None:
        if required:
            raise bad_certificate("none was shown")
        return None
    try:
        said = sock.getpeercert()
    except ValueError as error:
        raise bad_certificate("it cannot be read") from error
    if not said:
        raise bad_certificate("it was not verified")
    return read_identity(said, der, now)


def read_identity(said: Mapping[str, Any], der: bytes, now: float) -> ClientIdentity:
    """`said` as `SSLSocket.getpeercert` gives it. Raises HandshakeFailed for one that has expired, or is too long."""
    not_after = ssl.cert_time_to_seconds(said["notAfter"])
    if now > not_after:
        raise bad_certificate("it has expired since its session began")
    identity = ClientIdentity(
        subject=rfc4514(said.get("subject", ())),
        alternatives=tuple(_alternatives(said.get("subjectAltName", ()))),
        fingerprint=hashlib.sha256(der).hexdigest(),
        not_after=not_after,
    )
    _check_size("subject", identity.subject)
    _check_size("alternative names", *(value for _, value in identity.alternatives))
    return identity


def _check_size(what: str, *texts: str) -> None:
    size = sum(len(text.encode()) for text in texts)
    if size > LONGEST:
        raise bad_certificate(f"its {what} take {size} bytes, and at most {LONGEST} are passed on")


def rfc4514(subject: Names) -> str:
    """The last part first (RFC 4514 §2.1)."""
    parts = ("+".join(f"{_SHORT.get(kind, kind)}={_escaped(value)}" for kind, value in part) for part in subject[::-1])
    return ",".join(parts)


def _escaped(value: str) -> str:
    """§2.4; spaces at both ends in hexadecimal, so that nobody takes them off."""
    text = "".join(f"\\{each}" if each in '"+,;<>\\' else "\\00" if each == "\0" else each for each in value)
    if text.startswith((" ", "#")):
        text = f"\\{ord(text[0]):02x}{text[1:]}"
    return f"{text[:-1]}\\20" if text.endswith(" ") else text


def _alternatives(names: Sequence[tuple[str, Any]]) -> Iterator[tuple[str, str]]:
    for kind, value in names:
        if kind in _ALTERNATIVES and isinstance(value, str):
            yield _ALTERNATIVES[kind], _address(value) if kind == "IP Address" else value


def _address(text: str) -> str:
    """`ssl` writes IPv6 without any abbreviation; what is no address it calls `<invalid>`."""
    try:
        return str(ipaddress.ip_address(text.strip()))
    except ValueError:
        return text
