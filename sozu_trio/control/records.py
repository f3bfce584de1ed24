"""Records as documents for people and files: flat JSON objects whose members are the keys of the configuration file.

Seconds, bytes and counts are as in the file. Between processes records travel as `codec.py` has them.
"""

import hashlib
import ssl
from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any, Final, Literal

from sozu_trio.config.addresses import Address
from sozu_trio.config.backend_tls import BackendTls
from sozu_trio.config.certificates import Certificate, ListenerCertificate
from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend, TcpFrontend
from sozu_trio.config.hsts import Hsts
from sozu_trio.config.limits import HeadLimits
from sozu_trio.config.listeners import HttpListener, Listener, TcpListener, Timeouts, protocol_of
from sozu_trio.config.program import Settings
from sozu_trio.config.secrets import PEM, REDACTED, SECRETS
from sozu_trio.config.tls_settings import TlsSettings
from sozu_trio.routing.state import State, certificate_key, frontend_key, listener_key

Record = Listener | Cluster | HttpFrontend | TcpFrontend | Backend | ListenerCertificate
Origin = Literal["file", "socket"]

TIMEOUTS: Final = MappingProxyType({each.name: f"{each.name}_timeout" for each in fields(Timeouts)})
"""Field of Timeouts → member of a document."""
LIMITS: Final = MappingProxyType({"head": "max_head_size", "request_line": "max_request_line", "fields": "max_fields"})
"""Field of HeadLimits → member of a document."""
TLS: Final = MappingProxyType(
    {
        "versions": "tls_versions",
        "ciphers": "cipher_list",
        "groups": "groups_list",
        "alpn": "alpn_protocols",
        "tickets": "send_tls13_tickets",
        "client_auth": "client_auth",
        "client_ca": "client_ca",
    }
)
"""Field of TlsSettings → member of a document."""
CERTIFICATE: Final = MappingProxyType(
    {each.name: "certificate" if each.name == "chain" else each.name for each in fields(Certificate)}
)
"""Field of Certificate → member of a document; `key` is a secret."""
_WITHIN: Final[tuple[tuple[type, Mapping[str, str]], ...]] = (
    (Timeouts, TIMEOUTS),
    (HeadLimits, LIMITS),
    (TlsSettings, TLS),
    (Certificate, CERTIFICATE),
)
"""Records within records, whose members stand beside the others."""
_END: Final = "-----END CERTIFICATE-----"


def document_of(record: Record | Settings) -> dict[str, Any]:
    """The record as a JSON object of its own: the caller may change it."""
    document: dict[str, Any] = {}
    if isinstance(record, HttpListener | TcpListener):
        document["protocol"] = protocol_of(record)
    for each in fields(record):
        value = getattr(record, each.name)
        within = next((members for kind, members in _WITHIN if isinstance(value, kind)), None)
        if within is None:
            document[each.name] = _plain(value)
        else:
            document |= {member: _plain(getattr(value, field)) for field, member in within.items()}
    return document


def _plain(value: object) -> object:
    """Strings of enumerations go as they are: JSON writes them as the strings they are."""
    if isinstance(value, Address):
        return str(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, BackendTls):
        return _plain_tls(value)
    if isinstance(value, Hsts):
        return {each.name: getattr(value, each.name) for each in fields(value)}
    return list(value) if isinstance(value, tuple) else value


def _plain_tls(tls: BackendTls) -> dict[str, Any]:
    """As the table of the file, with PEM in place of paths, and without what is not said; `key` is a secret."""
    certificate = tls.certificate
    members = {
        "server_name": tls.server_name,
        "ca": tls.ca,
        "fingerprint": tls.fingerprint,
        "certificate": None if certificate is None else certificate.chain,
        "key": None if certificate is None else certificate.key,
        "verify": tls.verify,
        "tls_versions": list(tls.versions),
    }
    return {name: value for name, value in members.items() if value is not None}


def shortened(document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which authorities, be they of clients or of backends, are counted, as they may be many kilobytes."""
    short = dict(document)
    if text := short.get("client_ca"):
        short["client_ca"] = _counted(text)
    tls = short.get("tls")
    if isinstance(tls, Mapping) and "ca" in tls:
        short["tls"] = {**tls, "ca": _counted(tls["ca"])}
    return short


def _counted(authorities: str) -> str:
    """With the beginning of a hash by which two bundles are told apart: `2 authorities (0123456789ab)`."""
    number = authorities.count(f"{PEM} ")
    found = f"{number} {'authority' if number == 1 else 'authorities'}"
    return f"{found} ({hashlib.sha256(authorities.encode()).hexdigest()[:12]})"


def without_pem(document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy for people, to whom PEM says nothing, and the key is a secret: as `shortened`, and in the `tls` of a
    cluster `certificate` is the fingerprint.
    """
    shown = {name: value for name, value in shortened(document).items() if name not in ("certificate", "key")}
    if isinstance(tls := shown.get("tls"), Mapping):
        rest = {name: value for name, value in tls.items() if name != "key"}
        certificate = {"certificate": _fingerprint(tls["certificate"])} if "certificate" in tls else {}
        shown["tls"] = rest | certificate
    return shown


def _fingerprint(chain: str) -> str:
    leaf = chain[: chain.index(_END) + len(_END)]
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(leaf)).hexdigest()


def origin_of(record: Record, state: State) -> Origin:
    """Whether the configuration file declares this object, by key; what it says of it may differ."""
    declared = state.declared
    return "file" if declared is not None and _is_in(record, declared) else "socket"


def _is_in(record: Record, state: State) -> bool:
    match record:
        case Cluster():
            return record.cluster_id in state.clusters
        case Backend():
            return record.backend_id in state.backends.get(record.cluster_id, {})
        case HttpFrontend():
            return frontend_key(record) in state.http_frontends
        case TcpFrontend():
            return record.address in state.tcp_frontends
        case ListenerCertificate():
            return certificate_key(record) in state.certificates
    return listener_key(record) in state.listeners


def redacted(document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy in which every secret, at any depth, reads REDACTED. `tags` are the operator's own names and stay.

    Names with hyphens, as in requests, count as those with underscores.
    """
    return {name: _redacted(name.replace("-", "_"), value) for name, value in document.items()}


def _redacted(name: str, value: Any) -> Any:
    if name in SECRETS:
        return REDACTED
    if isinstance(value, Mapping) and name != "tags":
        return redacted(value)
    return [_redacted("", each) for each in value] if isinstance(value, list | tuple) else value
