"""Which certificates to show to a client, by the name it asks for: exact names, then `*` for the first label.

A Resolver is an immutable value of one listener. A change makes another one, and touches only the names of the
certificates that changed, since listeners may have thousands.

What comes out is at most one certificate for each kind of key, because OpenSSL knows what kinds the client can, and we
do not: a context may hold one of each. Only certificates that are equally specific are combined.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from sozu_trio.config.certificates import Certificate
from sozu_trio.config.server_names import canonical_address, canonical_name

Why = Literal["exact", "wildcard", "address", "default"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a client is shown, and why."""

    certificates: tuple[Certificate, ...]
    """At least one, at most one for each kind of key."""
    why: Why
    """`address`: the client named none, and it is for the address it connected to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolver:
    """All certificates of a listener, for look-up."""

    certificates: Mapping[str, Certificate] = field(default_factory=lambda: MappingProxyType({}))
    """By fingerprint; those of the default are not among them unless they were added as well."""
    default: tuple[Certificate, ...] = ()
    """For names nobody has a certificate for, and for clients that ask for none; empty: they are refused."""
    _found: Mapping[str, tuple[Certificate, ...]] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    """All certificates for a name, a wildcard or an address, the best one first."""

    def find(self, server_name: str | None, address: str = "") -> Shown | None:
        """What to show to a client that asks for `server_name`, None if it does not say, at the IP address `address`.

        None: nothing, and it is refused as RFC 6066 §3 says, with the alert `unrecognized_name`.
        """
        name = None if server_name is None else canonical_name(server_name)
        if name is not None and (shown := self._named(name)) is not None:
            return shown
        spelt = canonical_address(address) if server_name is None and address else None
        if spelt is not None and spelt in self._found:
            return Shown(certificates=_one_of_each_kind(self._found[spelt]), why="address")
        return Shown(certificates=_one_of_each_kind(self.default), why="default") if self.default else None

    def _named(self, name: str) -> Shown | None:
        if (exact := self._found.get(name)) is not None:
            return Shown(certificates=_one_of_each_kind(exact), why="exact")
        if (wild := self._found.get(wildcard_for(name))) is not None:
            return Shown(certificates=_one_of_each_kind(wild), why="wildcard")
        return None

    def amended(self, *, remove: Iterable[str] = (), add: Iterable[Certificate] = ()) -> "Resolver":
        """This one without the certificates of some fingerprints, then with others; what is there already stays."""
        certificates, found = dict(self.certificates), dict(self._found)
        for fingerprint in remove:
            if (gone := certificates.pop(fingerprint, None)) is not None:
                _take_out(gone, found)
        for certificate in add:
            if certificate.fingerprint not in certificates:
                certificates[certificate.fingerprint] = certificate
                _put_in(certificate, found)
        return Resolver(certificates=certificates, default=self.default, _found=found)

    def with_default(self, *default: Certificate) -> "Resolver":
        """This one with another default, or with none."""
        in_order = tuple(sorted(default, key=_rank))
        return Resolver(certificates=self.certificates, default=in_order, _found=self._found)


NO_CERTIFICATES = Resolver()


def wildcard_for(name: str) -> str:
    """The wildcard that stands for `name` as well: `*` takes the place of the first label, and of no whole name."""
    _, dot, parent = name.partition(".")
    return f"*.{parent}" if dot else name


def covers(certificate: Certificate, host: str) -> bool:
    """Whether a certificate is for a host: what a request on its connection may ask for under `strict_sni_binding`."""
    name = canonical_name(host)
    if name is None:
        return False
    return name in certificate.names or wildcard_for(name) in certificate.names or name in certificate.addresses


def is_for(shown: Shown | None, named: str | None, host: bytes) -> bool:
    """Whether the connection of a client that asked TLS for `named`, a canonical name, and was shown `shown` is for
    `host`: that is the name, or all it may have been shown is for it; which of several OpenSSL chose is not known.
    """
    name = canonical_name(host.decode("latin-1").strip("[]"))
    if name is None or shown is None:
        return False
    return name == named or all(covers(each, name) for each in shown.certificates)


def _one_of_each_kind(certificates: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
    if len(certificates) == 1:
        return certificates
    best: dict[str, Certificate] = {}
    for certificate in certificates:
        best.setdefault(certificate.key_kind, certificate)
    return tuple(best.values())


def _rank(certificate: Certificate) -> tuple[int, int, str]:
    """The one that expires last first; the later one to begin among those, and then any fixed order."""
    return -certificate.not_after, -certificate.not_before, certificate.fingerprint


def _keys(certificate: Certificate) -> Iterator[str]:
    yield from certificate.names
    yield from certificate.addresses


def _put_in(certificate: Certificate, found: dict[str, tuple[Certificate, ...]]) -> None:
    for key in _keys(certificate):
        found[key] = tuple(sorted((*found.get(key, ()), certificate), key=_rank))


def _take_out(certificate: Certificate, found: dict[str, tuple[Certificate, ...]]) -> None:
    for key in _keys(certificate):
        left = tuple(each for each in found[key] if each.fingerprint != certificate.fingerprint)
        if left:
            found[key] = left
        else:
            del found[key]
