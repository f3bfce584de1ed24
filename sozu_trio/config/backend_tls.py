"""TLS to the backends of a cluster: what is asked of it, as a record, and every combination that makes no sense.

What is verified follows from what is given: the name is `server_name`, else the IP address of the backend; what a
client has sent is neither verified nor sent on. The authorities are those of `ca`, else the system's; with a
`fingerprint` alone that one certificate is taken and no authority asked.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from sozu_trio.config.certificates import Certificate
from sozu_trio.config.report import Report, place
from sozu_trio.config.server_names import canonical_name
from sozu_trio.config.values import TlsVersion, show

OPTIONS: Final = tuple(
    f"tls_{name}" for name in ("server_name", "ca", "fingerprint", "certificate", "key", "verify", "versions")
)
"""Fields of `bodies.ClusterBody` beside `tls` itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendTls:
    """How a cluster speaks TLS to its backends."""

    server_name: str | None = None
    """A host name, sent as SNI, or an IP address, which is not; None = the IP address of each backend."""
    ca: str | None = None
    """PEM of the authorities; None = those of the system, where any are asked."""
    fingerprint: str | None = None
    """SHA-256 of the DER form of the backend's leaf, in lower-case hexadecimal."""
    certificate: Certificate | None = None
    """Shown to backends that ask for one."""
    verify: bool = True
    versions: tuple[TlsVersion, ...] = ("TLS_V12", "TLS_V13")
    """At least one."""

    @property
    def asks_authorities(self) -> bool:
        """Whether the backend's certificate must be signed by one, be valid now, and be for the name."""
        return self.verify and (self.ca is not None or self.fingerprint is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendTlsFiles:
    """Where the configuration says that PEM is; paths are absolute."""

    where: str
    """The place of the table in the file."""
    cluster_id: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None


class SaysTls(Protocol):
    """A table with the keys of `tls`; how PEM is given, by path or as text, is its own affair."""

    @property
    def server_name(self) -> str | None: ...
    @property
    def ca(self) -> object: ...
    @property
    def fingerprint(self) -> str | None: ...
    @property
    def certificate(self) -> object: ...
    @property
    def key(self) -> object: ...
    @property
    def verify(self) -> bool: ...
    @property
    def tls_versions(self) -> Sequence[TlsVersion]: ...


def read_backend_tls_table(table: SaysTls, where: str, report: Report) -> BackendTls:
    """As `read_backend_tls`, of the table at `where`."""
    return read_backend_tls(
        where,
        report,
        server_name=table.server_name,
        ca=table.ca is not None,
        fingerprint=table.fingerprint,
        certificate=table.certificate is not None,
        key=table.key is not None,
        verify=table.verify,
        versions=table.tls_versions,
    )


def read_backend_tls(
    where: str,
    report: Report,
    *,
    server_name: str | None,
    ca: bool,
    fingerprint: str | None,
    certificate: bool,
    key: bool,
    verify: bool,
    versions: Sequence[TlsVersion],
    spell: Callable[[str], str] = str,
) -> BackendTls:
    """The record without what is in PEM: of that, only whether it is given. With problems in the report, what comes
    back is not to be used. `spell` makes of a key of the table what it is called at `where`.
    """

    def at(name: str) -> str:
        return place(where, spell(name))

    if not versions:
        report.wrong(at("tls_versions"), "no version; want TLS_V12, TLS_V13 or both")
    if certificate and not key:
        report.missing(at("key"), "the private key of certificate, in PEM")
    if key and not certificate:
        report.missing(at("certificate"), "the certificate that key belongs to, in PEM")
    if not verify:
        for name, given in (("ca", ca), ("fingerprint", fingerprint is not None)):
            if given:
                report.wrong(at(name), f"found it and {spell('verify')} = false; want only one of both")
        report.warn(
            at("verify"),
            "false: whoever answers at a backend's address is believed, and can read and change all that is sent",
        )
    return BackendTls(
        server_name=_name(at("server_name"), report, server_name),
        fingerprint=fingerprint,
        verify=verify,
        versions=tuple(dict.fromkeys(versions)),
    )


def read_cluster_options(given: Mapping[str, Any], where: str, report: Report) -> BackendTls | None:
    """What the options of a cluster (`bodies.ClusterBody`) say of TLS, by field; without what is in PEM."""
    asked = [name for name in OPTIONS if given.get(name) is not None]
    if given.get("tls") is False:
        for name in asked:
            report.wrong(place(where, _option(name)), "found it and tls = false; want only one of both")
        return None
    if not asked and not given.get("tls"):
        return None
    return read_backend_tls(
        where,
        report,
        server_name=given.get("tls_server_name"),
        ca=given.get("tls_ca") is not None,
        fingerprint=given.get("tls_fingerprint"),
        certificate=given.get("tls_certificate") is not None,
        key=given.get("tls_key") is not None,
        verify=given.get("tls_verify") is not False,
        versions=BackendTls().versions if given.get("tls_versions") is None else given["tls_versions"],
        spell=_option,
    )


def _option(key: str) -> str:
    """`verify` of the table → `tls-verify`; those that begin so already only get their hyphens."""
    return f"tls-{key.removeprefix('tls_')}".replace("_", "-")


def _name(where: str, report: Report, given: str | None) -> str | None:
    if given is None:
        return None
    name = canonical_name(given)
    if name is None:
        report.wrong(where, f"found {show(given)}; want a host name or an IP address, such as api.internal")
    return name
