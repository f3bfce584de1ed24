"""The tables of the file, one class each: every key with its kind and, where it does not depend on others, its default.

Nothing here is required and nothing is crossed with anything else: what must be there, `resolve.py` asks for, so that
one fault in a file hides no other. `None` means the key was not written. Names, types, units and defaults are those of
Sōzu 2.1.0; our own keys stand last in each table.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import LoadBalancing, LoadMetric, PathType, Position
from sozu_trio.config.values import (
    Bytes,
    ClientAuth,
    Count,
    FieldName,
    Fingerprint,
    HeadSize,
    LogTarget,
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
    Status,
    TlsVersion,
    Weight,
    Workers,
    choice,
)

UNBUILT_BALANCING = ("HRW", "MAGLEV")
UNBUILT_REDIRECTS = ("permanent", "found", "permanent_redirect", "unauthorized")

ListenerProtocol = Annotated[Literal["http", "https", "tcp", "udp"], choice(["http", "https", "tcp"], ["udp"])]
Balancing = Annotated[
    Literal["ROUND_ROBIN", "RANDOM", "LEAST_LOADED", "POWER_OF_TWO", "HRW", "MAGLEV"],
    choice(LoadBalancing, UNBUILT_BALANCING),
]
Redirect = Annotated[
    Literal["forward", "permanent", "found", "permanent_redirect", "unauthorized"],
    choice(["forward"], UNBUILT_REDIRECTS),
]
AccessLogsFormat = Annotated[Literal["ascii", "json", "protobuf"], choice(["ascii", "json"], ["protobuf"])]


@dataclass(frozen=True, slots=True, kw_only=True)
class HstsTable:
    enabled: bool | None = None
    max_age: Count = 31_536_000
    include_subdomains: bool = False
    preload: bool = False
    force_replace_backend: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricsTable:
    address: Address | None = None
    tagged_metrics: bool = False
    prefix: str = "sozu"
    detail: Literal["process", "frontend", "cluster", "backend"] = "cluster"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerTable:
    address: ReachableAddress | None = None
    protocol: ListenerProtocol | None = None
    public_address: Address | None = None
    expect_proxy: bool = False
    front_timeout: Seconds | None = None
    back_timeout: Seconds | None = None
    connect_timeout: Seconds | None = None
    request_timeout: Seconds | None = None
    sticky_name: str = "SOZUBALANCEID"
    sozu_id_header: FieldName = "Sozu-Id"
    elide_x_real_ip: bool = False
    send_x_real_ip: bool = False
    answer_301: Path | None = None
    answer_400: Path | None = None
    answer_401: Path | None = None
    answer_404: Path | None = None
    answer_408: Path | None = None
    answer_413: Path | None = None
    answer_421: Path | None = None
    answer_429: Path | None = None
    answer_502: Path | None = None
    answer_503: Path | None = None
    answer_504: Path | None = None
    answer_507: Path | None = None
    answers: Mapping[str, str] = field(default_factory=dict)
    alpn_protocols: tuple[Literal["h2", "http/1.1"], ...] = ("h2", "http/1.1")
    strict_sni_binding: bool = True
    disable_http11: bool = False
    hsts: HstsTable | None = None
    tls_versions: tuple[TlsVersion, ...] = ("TLS_V12", "TLS_V13")
    cipher_list: tuple[str, ...] | None = None
    cipher_suites: tuple[str, ...] | None = None
    groups_list: tuple[str, ...] | None = None
    certificate: Path | None = None
    certificate_chain: Path | None = None
    key: Path | None = None
    send_tls13_tickets: Count = 4
    max_rx_datagram_size: Bytes = 1500
    max_flows: Count = 0
    h2_max_rst_stream_per_window: Positive = 100
    h2_max_ping_per_window: Positive = 100
    h2_max_settings_per_window: Positive = 50
    h2_max_empty_data_per_window: Positive = 100
    h2_max_window_update_stream0_per_window: Positive = 100
    h2_max_continuation_frames: Positive = 20
    h2_max_glitch_count: Positive = 100
    h2_max_rst_stream_lifetime: Positive = 10_000
    h2_max_rst_stream_abusive_lifetime: Positive = 50
    h2_max_rst_stream_emitted_lifetime: Positive = 500
    h2_initial_connection_window: Bytes = 1_048_576
    h2_max_concurrent_streams: Positive = 100
    h2_stream_shrink_ratio: Positive = 2
    h2_max_header_list_size: Bytes = 65_536
    h2_max_header_table_size: Bytes = 65_536
    h2_max_header_fields: Positive = 128
    h2_stream_idle_timeout_seconds: Positive | None = None
    h2_graceful_shutdown_deadline_seconds: Count = 5
    # ours
    trusted_proxies: tuple[Network, ...] = ()
    upgrade_protocols: tuple[Protocol, ...] = ("websocket",)
    via: Pseudonym = ""
    max_head_size: HeadSize = 65_536
    max_request_line: HeadSize | None = None
    max_fields: Positive = 100
    max_body_size: Bytes = 0
    max_requests_per_connection: Count = 0
    min_body_rate: Bytes = 0
    client_auth: ClientAuth = "none"
    client_ca: Path | None = None
    client_subject_header: OptionalFieldName = "X-Client-Subject"
    client_san_header: OptionalFieldName = "X-Client-San"
    client_fingerprint_header: OptionalFieldName = "X-Client-Fingerprint"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderTable:
    position: Literal["request", "response", "both"] | None = None
    key: str | None = None
    value: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontendTable:
    address: ReachableAddress | None = None
    hostname: str | None = None
    path: str | None = None
    path_type: PathType = PathType.PREFIX
    method: Method | None = None
    position: Position = Position.TREE
    tags: Mapping[str, str] = field(default_factory=dict)
    certificate: Path | None = None
    key: Path | None = None
    certificate_chain: Path | None = None
    tls_versions: tuple[TlsVersion, ...] = ()
    redirect: Redirect = "forward"
    redirect_scheme: Literal["use-same", "use-http", "use-https"] = "use-same"
    redirect_template: str | None = None
    rewrite_host: str | None = None
    rewrite_path: str | None = None
    rewrite_port: Port | None = None
    required_auth: bool = False
    headers: tuple[HeaderTable, ...] = ()
    hsts: HstsTable | None = None
    # ours
    max_body_size: Bytes | None = None
    client_auth: ClientAuth = "none"
    client_ca: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendTable:
    address: ReachableAddress | None = None
    backend_id: str | None = None
    weight: Weight = 100
    sticky_id: str | None = None
    backup: bool = False
    # ours
    max_connections: Count = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthCheckTable:
    uri: str | None = None
    interval: Positive = 10
    timeout: Positive = 5
    healthy_threshold: Positive = 3
    unhealthy_threshold: Positive = 3
    expected_status: Status = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class UdpHealthTable:
    mode: Literal["HEALTH_OFF", "TCP_PROBE", "UDP_PROBE"] = "HEALTH_OFF"
    tcp_port: Port | None = None
    rise: Positive = 2
    fall: Positive = 3
    fail_open: bool = True
    udp_probe_payload: str | None = None
    probe_interval: Positive = 5
    probe_timeout: Positive = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class UdpTable:
    affinity_key: Literal["SOURCE_IP", "SOURCE_IP_PORT"] | None = None
    responses: Count = 0
    requests: Count = 0
    send_proxy_protocol: bool = False
    proxy_protocol_every_datagram: bool = False
    health: UdpHealthTable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendTlsTable:
    server_name: str | None = None
    ca: Path | None = None
    fingerprint: Fingerprint | None = None
    certificate: Path | None = None
    key: Path | None = None
    verify: bool = True
    tls_versions: tuple[TlsVersion, ...] = ("TLS_V12", "TLS_V13")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterTable:
    protocol: Literal["http", "tcp"] | None = None
    frontends: tuple[FrontendTable, ...] = ()
    backends: tuple[BackendTable, ...] = ()
    sticky_session: bool = False
    https_redirect: bool = False
    https_redirect_port: Port | None = None
    send_proxy: bool = False
    load_balancing: Balancing = "ROUND_ROBIN"
    load_metric: LoadMetric = LoadMetric.CONNECTIONS
    http2: bool = False
    answer_503: Path | None = None
    answers: Mapping[str, str] = field(default_factory=dict)
    authorized_hashes: tuple[str, ...] = ()
    www_authenticate: str | None = None
    max_connections_per_ip: Count | None = None
    retry_after: Count | None = None
    health_check: HealthCheckTable | None = None
    udp: UdpTable | None = None
    # ours
    max_idle_connections: Count = 64
    max_connections: Count = 0
    max_queue: Count = 100
    queue_timeout: Seconds = 5
    max_requests: Count = 0
    max_requests_burst: Count = 0
    idle_timeout: Seconds = 30
    tls: BackendTlsTable | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FileTable:
    """The whole file: the global keys and the sections under them."""

    command_socket: Path | None = None
    command_buffer_size: Bytes = 1_000_000
    max_command_buffer_size: Bytes = 2_000_000
    command_allowed_uids: tuple[Count, ...] | None = None
    ctl_command_timeout: Milliseconds = 30_000
    worker_count: Workers = 2
    worker_automatic_restart: bool = True
    worker_timeout: Seconds = 10
    max_connections: Positive | None = None
    max_connections_per_ip: Count = 0
    retry_after: Count = 60
    slab_entries_per_connection: Count = 4
    min_buffers: Count = 1
    max_buffers: Count = 1000
    buffer_size: Bytes = 16_393
    front_timeout: Seconds = 60
    back_timeout: Seconds = 30
    connect_timeout: Seconds = 3
    request_timeout: Seconds = 10
    zombie_check_interval: Seconds = 1800
    accept_queue_timeout: Seconds = 60
    evict_on_queue_full: bool = False
    basic_auth_max_credential_bytes: Bytes = 4096
    splice_pipe_capacity_bytes: Bytes | None = None
    saved_state: Path | None = None
    automatic_state_save: bool = False
    activate_listeners: bool = True
    handle_process_affinity: bool = False
    pid_file_path: Path | None = None
    log_level: str = "info"
    log_target: LogTarget = "stdout"
    log_colored: bool = False
    access_logs_target: LogTarget | None = None
    access_logs_format: AccessLogsFormat = "ascii"
    access_logs_colored: bool | None = None
    audit_logs_target: LogTarget | None = None
    audit_logs_json_target: LogTarget | None = None
    disable_cluster_metrics: bool = False
    metrics: MetricsTable | None = None
    listeners: tuple[ListenerTable, ...] = ()
    clusters: Mapping[str, ClusterTable] = field(default_factory=dict)
    # ours
    max_connections_total: Count = 0
    max_connections_per_source: Count = 0
    max_requests_per_ip: Count = 0
    max_requests_per_ip_burst: Count = 0
    overload_lag: Milliseconds = 100
    max_memory: Bytes | None = None
    command_read_only_uids: tuple[Count, ...] = ()
    shutdown_timeout: Seconds = 30
    orphan_timeout: Seconds = 300
    upgrade_drain_timeout: Seconds = 300
    certificate_check_interval: Seconds = 10
    runtime_directory: Path | None = None
    sandbox: Literal["require", "auto", "off"] = "auto"
    sandbox_violation: Literal["deny", "kill"] = "deny"
    user: str | None = None
    group: str | None = None


LISTENER_ANSWERS = tuple(each.name for each in fields(ListenerTable) if each.name.startswith("answer_"))
H2_KNOBS = tuple(each.name for each in fields(ListenerTable) if each.name.startswith("h2_"))
