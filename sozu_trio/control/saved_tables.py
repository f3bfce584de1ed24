"""The tables of a saved state, and what must be right in each for a record to come of it.

A member has the kind that its key has in the configuration file; None means it was left out. What several records must
not say together is judged in `saved_state.py`.
"""

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from sozu_trio.config.addresses import Address
from sozu_trio.config.backend_tls import BackendTls, read_backend_tls_table
from sozu_trio.config.certificates import ListenerCertificate
from sozu_trio.config.client_auth import CLIENT_FIELDS, check_client_auth, check_client_fields, field_names
from sozu_trio.config.clusters import (
    Backend,
    Cluster,
    HttpFrontend,
    LoadBalancing,
    LoadMetric,
    PathType,
    Position,
    TcpFrontend,
)
from sozu_trio.config.hsts import read_hsts
from sozu_trio.config.limits import HeadLimits
from sozu_trio.config.listeners import HttpListener, HttpsListener, Listener, TcpListener, Timeouts
from sozu_trio.config.options import BackendId, ClusterId
from sozu_trio.config.patterns import check_path, parse_host
from sozu_trio.config.program import Settings
from sozu_trio.config.report import Report, an, place
from sozu_trio.config.schema import HstsTable
from sozu_trio.config.tls_settings import TlsSettings, read_settings
from sozu_trio.config.values import (
    Bytes,
    ClientAuth,
    Count,
    FieldName,
    Fingerprint,
    HeadSize,
    Method,
    Milliseconds,
    Network,
    OptionalFieldName,
    Port,
    Positive,
    Protocol,
    Pseudonym,
    ReachableAddress,
    Seconds,
    TlsVersion,
    Weight,
    show,
)
from sozu_trio.control.certificates import ReadsPem, with_pem_read
from sozu_trio.control.records import LIMITS, TIMEOUTS, TLS, Origin
from sozu_trio.errors import BadCertificate
from sozu_trio.routing.state import certificate_key, frontend_key, listener_key

Balancing = Literal["ROUND_ROBIN", "RANDOM", "LEAST_LOADED", "POWER_OF_TWO"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedListenerTable:
    """A listener of any protocol."""

    protocol: Literal["http", "https", "tcp"]
    address: ReachableAddress
    public_address: Address | None = None
    expect_proxy: bool | None = None
    front_timeout: Seconds | None = None
    back_timeout: Seconds | None = None
    connect_timeout: Seconds | None = None
    request_timeout: Seconds | None = None
    max_head_size: HeadSize | None = None
    max_request_line: HeadSize | None = None
    max_fields: Positive | None = None
    sozu_id_header: FieldName | None = None
    elide_x_real_ip: bool | None = None
    send_x_real_ip: bool | None = None
    trusted_proxies: tuple[Network, ...] | None = None
    upgrade_protocols: tuple[Protocol, ...] | None = None
    via: Pseudonym | None = None
    max_body_size: Bytes | None = None
    max_requests_per_connection: Count | None = None
    min_body_rate: Bytes | None = None
    tls_versions: tuple[TlsVersion, ...] | None = None
    cipher_list: tuple[str, ...] | None = None
    groups_list: tuple[str, ...] | None = None
    alpn_protocols: tuple[Literal["h2", "http/1.1"], ...] | None = None
    send_tls13_tickets: Count | None = None
    strict_sni_binding: bool | None = None
    hsts: HstsTable | None = None
    client_auth: ClientAuth | None = None
    client_ca: str | None = None
    """PEM."""
    client_subject_header: OptionalFieldName | None = None
    client_san_header: OptionalFieldName | None = None
    client_fingerprint_header: OptionalFieldName | None = None
    active: bool | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedBackendTlsTable:
    """TLS to the backends of a cluster, with PEM where the file has paths."""

    server_name: str | None = None
    ca: str | None = None
    fingerprint: Fingerprint | None = None
    certificate: str | None = None
    key: str | None = field(default=None, repr=False)
    verify: bool = True
    tls_versions: tuple[TlsVersion, ...] = BackendTls().versions


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedClusterTable:
    """A cluster; its protocol may be unsaid."""

    cluster_id: ClusterId
    protocol: Literal["http", "tcp"] | None = None
    load_balancing: Balancing | None = None
    load_metric: LoadMetric | None = None
    send_proxy: bool | None = None
    max_idle_connections: Count | None = None
    idle_timeout: Seconds | None = None
    max_connections: Count | None = None
    max_queue: Count | None = None
    queue_timeout: Seconds | None = None
    max_requests: Count | None = None
    max_requests_burst: Count | None = None
    max_connections_per_ip: Count | None = None
    retry_after: Count | None = None
    https_redirect: bool | None = None
    https_redirect_port: Port | None = None
    tls: SavedBackendTlsTable | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedHttpFrontendTable:
    """A rule of an http or https listener; without a cluster it denies."""

    address: Address
    hostname: str
    path: str | None = None
    path_type: PathType | None = None
    method: Method | None = None
    position: Position | None = None
    cluster_id: ClusterId | None = None
    tags: Mapping[str, str] | None = None
    hsts: HstsTable | None = None
    max_body_size: Bytes | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedTcpFrontendTable:
    """Where the sessions of a tcp listener go."""

    address: Address
    cluster_id: ClusterId
    tags: Mapping[str, str] | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedBackendTable:
    """A server of a cluster."""

    cluster_id: ClusterId
    backend_id: BackendId
    address: ReachableAddress
    weight: Weight | None = None
    backup: bool | None = None
    max_connections: Count | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedCertificateTable:
    """A certificate at a listener. `certificate` and `key` are PEM, and all else is read out of them again."""

    address: Address
    certificate: str
    key: str = field(repr=False)
    default: bool = False
    fingerprint: str | None = None
    names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    not_before: Any = None
    not_after: Any = None
    key_kind: str | None = None
    subject: str | None = None
    issuer: str | None = None
    origin: Origin | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSettingsTable:
    """Global keys."""

    front_timeout: Seconds | None = None
    back_timeout: Seconds | None = None
    connect_timeout: Seconds | None = None
    request_timeout: Seconds | None = None
    log_level: str | None = None
    max_connections: Positive | None = None
    max_connections_total: Count | None = None
    max_connections_per_source: Count | None = None
    max_requests_per_ip: Count | None = None
    max_requests_per_ip_burst: Count | None = None
    max_connections_per_ip: Count | None = None
    retry_after: Count | None = None
    overload_lag: Milliseconds | None = None
    max_memory: Bytes | None = None
    evict_on_queue_full: bool | None = None


_HTTPS = {*TLS.values(), *CLIENT_FIELDS, "strict_sni_binding", "hsts"}
"""What only an https listener may say."""
TCP = {"protocol", "active", "address", "expect_proxy", "public_address", *TIMEOUTS.values()}
"""What a tcp listener may say."""


def read_listener(reads: ReadsPem, table: SavedListenerTable, where: str, report: Report) -> Listener:
    """What is wrong with it, as with all records here, is told to `report`."""
    members = _given(table)
    for name in [each for each in members if _is_foreign(each, table.protocol)]:
        what = f"found {show(members.pop(name))}; want none: this is {an(table.protocol)} listener"
        report.wrong(place(where, name), what)
    timeouts = Timeouts(**_taken(members, TIMEOUTS))
    if members.pop("protocol") == "tcp":
        return TcpListener(**members, timeouts=timeouts)
    limits = _limits(_taken(members, LIMITS), where, report)
    if table.protocol == "http":
        return HttpListener(**members, timeouts=timeouts, limits=limits)
    tls = _settings(reads, _taken(members, TLS), where, report)
    members["hsts"] = read_hsts(table.hsts, place(where, "hsts"), report)
    listener = HttpsListener(**members, timeouts=timeouts, limits=limits, tls=tls)
    check_client_fields(where, report, field_names(listener))
    return listener


def _is_foreign(name: str, protocol: str) -> bool:
    return name not in TCP if protocol == "tcp" else protocol == "http" and name in _HTTPS


def _settings(reads: ReadsPem, given: dict[str, Any], where: str, report: Report) -> TlsSettings:
    """An empty list of groups is that of OpenSSL."""
    default = TlsSettings()
    settings = read_settings(
        where,
        report,
        versions=given.get("versions", default.versions),
        ciphers=given.get("ciphers"),
        groups=given.get("groups") or None,
        alpn=given.get("alpn", default.alpn),
        tickets=given.get("tickets", default.tickets),
    )
    client_auth, authorities = given.get("client_auth", default.client_auth), given.get("client_ca", "")
    check_client_auth(where, report, client_auth=client_auth, has_authorities=bool(authorities))
    if authorities:
        try:
            authorities = reads.authorities(authorities.encode())
        except BadCertificate as error:
            report.wrong(place(where, "client_ca"), str(error))
    return replace(settings, client_auth=client_auth, client_ca=authorities)


def _limits(given: dict[str, Any], where: str, report: Report) -> HeadLimits:
    """A head that is allowed less than the default for its first line has a first line that is allowed no more."""
    limits = HeadLimits(**given)
    if limits.request_line <= limits.head:
        return limits
    if "request_line" in given:
        want = f"at most max_head_size, which is {limits.head}"
        report.wrong(place(where, "max_request_line"), f"found {limits.request_line}; want {want}")
    return replace(limits, request_line=limits.head)


def read_cluster(reads: ReadsPem, table: SavedClusterTable, where: str, report: Report) -> Cluster:
    """What is in PEM may have expired meanwhile."""
    members = _given(table)
    if table.tls is not None:
        members["tls"] = _backend_tls(reads, table.tls, place(where, "tls"), report)
    if table.load_balancing is not None:
        members["load_balancing"] = LoadBalancing(table.load_balancing)
    return Cluster(**members)


def _backend_tls(reads: ReadsPem, table: SavedBackendTlsTable, where: str, report: Report) -> BackendTls | None:
    tls = read_backend_tls_table(table, where, report)
    places = {name: place(where, name) for name in ("ca", "certificate")}
    return with_pem_read(tls, reads, report, places, table.ca, table.certificate, table.key)


def read_http_frontend(table: SavedHttpFrontendTable, where: str, report: Report) -> HttpFrontend | None:
    """None where the hostname cannot be read, as then it has no key."""
    members = _given(table) | {"hsts": read_hsts(table.hsts, place(where, "hsts"), report)}
    frontend = HttpFrontend(**members)
    try:
        parse_host(frontend.hostname)
    except ValueError as error:
        report.wrong(place(where, "hostname"), str(error))
        return None
    try:
        check_path(frontend.path_type, frontend.path)
    except ValueError as error:
        report.wrong(place(where, "path"), str(error))
    return frontend


def read_tcp_frontend(table: SavedTcpFrontendTable, _where: str, _report: Report) -> TcpFrontend:
    """One that fits its table is right: nothing is told."""
    return TcpFrontend(**_given(table))


def read_backend(table: SavedBackendTable, _where: str, _report: Report) -> Backend:
    """One that fits its table is right: nothing is told."""
    return Backend(**_given(table))


def read_listener_certificate(
    reads: ReadsPem, table: SavedCertificateTable, where: str, report: Report
) -> ListenerCertificate | None:
    """It may have expired meanwhile."""
    try:
        certificate = reads.certificate(table.certificate.encode(), table.key.encode())
    except BadCertificate as error:
        report.wrong(place(where, "certificate"), str(error))
        return None
    return ListenerCertificate(address=table.address, certificate=certificate, default=table.default)


def read_global_keys(table: SavedSettingsTable) -> Settings:
    """What is left out has the default of the file."""
    members = _given(table)
    return Settings(timeouts=Timeouts(**_taken(members, TIMEOUTS)), **members)


def _given(table: Any) -> dict[str, Any]:
    """The members that make a record, as far as they are there."""
    members = {each.name: getattr(table, each.name) for each in fields(table) if each.name != "origin"}
    given = {name: value for name, value in members.items() if value is not None}
    if "tags" in given:
        given["tags"] = MappingProxyType(given["tags"])
    return given


def _taken(members: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """What of `members` belongs into a record within the record; it is taken out of them."""
    return {within: members.pop(member) for within, member in names.items() if member in members}


class Kind(NamedTuple):
    """One list of the document."""

    table: type[Any]
    read: Callable[[Any, str, Report], Any]
    key: Callable[[Any], Hashable]
    same: str
    """What two of one key have in common."""


_KINDS: Mapping[str, Kind] = {
    "http_frontends": Kind(SavedHttpFrontendTable, read_http_frontend, frontend_key, "rule"),
    "tcp_frontends": Kind(SavedTcpFrontendTable, read_tcp_frontend, lambda frontend: frontend.address, "address"),
    "backends": Kind(
        SavedBackendTable, read_backend, lambda backend: (backend.cluster_id, backend.backend_id), "backend_id"
    ),
}


def kinds_of(reads: ReadsPem) -> Mapping[str, Kind]:
    """By the names of the lists."""
    listeners, clusters = partial(read_listener, reads), partial(read_cluster, reads)
    certificates = partial(read_listener_certificate, reads)
    return {
        "listeners": Kind(SavedListenerTable, listeners, listener_key, "address"),
        "clusters": Kind(SavedClusterTable, clusters, lambda cluster: cluster.cluster_id, "cluster_id"),
        **_KINDS,
        "certificates": Kind(SavedCertificateTable, certificates, certificate_key, "fingerprint"),
    }
