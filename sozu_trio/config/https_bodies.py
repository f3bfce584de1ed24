"""The bodies of the verbs about https listeners, their frontends and certificates; as `bodies.py`."""

from dataclasses import dataclass, field
from typing import Literal

from sozu_trio.config.addresses import Address
from sozu_trio.config.bodies import HttpFrontendAdd, HttpFrontendRemove, HttpListenerBody
from sozu_trio.config.options import Pem
from sozu_trio.config.values import ClientAuth, Count, Fingerprint, OptionalFieldName, TlsVersion


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpsListenerBody(HttpListenerBody):
    """Of `listener https add`, `listener https update`, and of `listener update`."""

    tls_versions: tuple[TlsVersion, ...] | None = None
    tls_cipher_list: tuple[str, ...] | None = None
    groups_list: tuple[str, ...] | None = None
    send_tls13_tickets: Count | None = None
    alpn_protocols: tuple[Literal["h2", "http/1.1"], ...] | None = None
    reset_alpn: bool | None = None
    """`alpn_protocols` as they are by default; not together with those."""
    strict_sni_binding: bool | None = None
    hsts_max_age: Count | None = None
    hsts_include_subdomains: bool | None = None
    hsts_preload: bool | None = None
    hsts_disabled: bool | None = None
    hsts_force_replace_backend: bool | None = None
    """Any of these replaces all that was said of HSTS."""
    client_auth: ClientAuth | None = None
    """`none` forgets the authorities as well."""
    client_ca: Pem | None = field(default=None, repr=False)
    client_subject_header: OptionalFieldName | None = None
    client_san_header: OptionalFieldName | None = None
    client_fingerprint_header: OptionalFieldName | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpsFrontendAdd(HttpFrontendAdd):
    """Of `frontend https add`."""

    hsts_max_age: Count | None = None
    hsts_include_subdomains: bool | None = None
    hsts_preload: bool | None = None
    hsts_disabled: bool | None = None
    hsts_force_replace_backend: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpsFrontendRemove(HttpFrontendRemove):
    """Of `frontend https remove`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateAdd:
    """Of `certificate add`: texts of PEM files. The chain may be in the certificate's, in any order."""

    address: Address
    certificate: Pem = field(repr=False)
    key: Pem = field(repr=False)
    certificate_chain: Pem | None = field(default=None, repr=False)
    tls_versions: tuple[TlsVersion, ...] | None = None
    """Sōzu's; refused, as in the file."""
    default: bool = False
    """Shown, too, to clients that ask for a name nobody has a certificate for, or for none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateReplace:
    """Of `certificate replace`; one of `fingerprint` and `old_certificate` says which."""

    address: Address
    new_certificate: Pem = field(repr=False)
    new_key: Pem = field(repr=False)
    new_certificate_chain: Pem | None = field(default=None, repr=False)
    fingerprint: Fingerprint | None = None
    old_certificate: Pem | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRemove:
    """Of `certificate remove`; one of `fingerprint` and `certificate` says which."""

    address: Address
    fingerprint: Fingerprint | None = None
    certificate: Pem | None = field(default=None, repr=False)
