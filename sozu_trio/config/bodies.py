"""The bodies of the verbs that change State: what may be asked for, with kinds as in the file.

Keys are spelled with hyphens: `backend_id` is `backend-id` (`structure.py`). They are the long options of Sōzu's ctl;
options that Sōzu's ctl lacks have the file's name. None means the key was not given, which an update leaves as it is
and an addition takes as the default. Keys of what is not built are added in `verbs.py`.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from sozu_trio.config.addresses import Address
from sozu_trio.config.options import (
    BackendId,
    ClusterId,
    Hostname,
    Metric,
    PathRegex,
    Pem,
    Place,
    PlainPath,
    Policy,
    Tags,
)
from sozu_trio.config.values import (
    Bytes,
    Count,
    FieldName,
    Fingerprint,
    HeadSize,
    Method,
    Network,
    Port,
    Positive,
    Protocol,
    Pseudonym,
    ReachableAddress,
    Seconds,
    TlsVersion,
    Weight,
)


def given(body: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Those fields of `body` among `names` that were given."""
    values = ((name, getattr(body, name)) for name in names)
    return {name: value for name, value in values if value is not None}


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterBody:
    """Of `cluster add` and `cluster update`. Without `protocol`, frontends of both kinds may lead to it."""

    id: ClusterId
    protocol: Literal["http", "tcp"] | None = None
    load_balancing_policy: Policy | None = None
    load_metric: Metric | None = None
    send_proxy: bool | None = None
    expect_proxy: bool | None = None
    """Sōzu's; here it is the listener that expects, so only false may be said."""
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
    tls: bool | None = None
    """Speak TLS to its backends; any of the others implies it, and all of them together replace what was said of it."""
    tls_server_name: str | None = None
    tls_ca: Pem | None = field(default=None, repr=False)
    tls_fingerprint: Fingerprint | None = None
    tls_certificate: Pem | None = field(default=None, repr=False)
    tls_key: Pem | None = field(default=None, repr=False)
    tls_verify: bool | None = None
    tls_versions: tuple[TlsVersion, ...] | None = None
    authorized_hash: tuple[str, ...] | None = None
    answer: tuple[str, ...] | None = None
    """`CODE=TEMPLATE` each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterRemove:
    """Of `cluster remove`. At most one of `deadline` and `drain` is given."""

    id: ClusterId
    deadline: Seconds | None = None
    """After which its sessions are cut; 0 = now, None = never."""
    drain: bool = False
    """Answer when the last of its sessions has gone, or was cut."""
    drain_timeout: Seconds | None = None
    """Of `drain`: seconds after which they are cut; 0 = never, None = `shutdown_timeout`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendAdd:
    """Of `backend add`; `id` is the cluster's."""

    id: ClusterId
    address: ReachableAddress
    backend_id: BackendId | None = None
    """None = that of the one at `address`; where there is none, or several, `CLUSTER-N-ADDRESS` with the first free N.
    """
    weight: Weight | None = None
    backup: bool | None = None
    max_connections: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendUpdate:
    """Of `backend update`; `address` is where it is from now on."""

    id: ClusterId
    backend_id: BackendId
    address: ReachableAddress | None = None
    weight: Weight | None = None
    backup: bool | None = None
    max_connections: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BackendRemove:
    """Of `backend remove`. At most one of `now`, `deadline` and `drain` is given."""

    id: ClusterId
    backend_id: BackendId
    address: Address | None = None
    """Where it is believed to be."""
    now: bool = False
    """Cut its sessions."""
    deadline: Seconds | None = None
    """After which its sessions are cut; None = never."""
    drain: bool = False
    """Answer when the last of its sessions has gone, or was cut."""
    drain_timeout: Seconds | None = None
    """Of `drain`: seconds after which they are cut; 0 = never, None = `shutdown_timeout`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpFrontendRemove:
    """Of `frontend http remove`: the rule, and where it is believed to lead. At most one of the paths is given."""

    address: Address
    hostname: Hostname
    cluster: ClusterId | None = None
    deny: bool = False
    path_prefix: PlainPath | None = None
    path_regex: PathRegex | None = None
    path_equals: PlainPath | None = None
    method: Method | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpFrontendAdd:
    """Of `frontend http add`: leads to `cluster`, or says no with `deny`. At most one of the paths is given."""

    address: Address
    hostname: Hostname
    cluster: ClusterId | None = None
    deny: bool = False
    path_prefix: PlainPath | None = None
    path_regex: PathRegex | None = None
    path_equals: PlainPath | None = None
    method: Method | None = None
    position: Place | None = None
    tags: Tags | None = None
    max_body_size: Bytes | None = None
    header: tuple[str, ...] | None = None
    """`POSITION=NAME=VALUE` each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpFrontendAdd:
    """Of `frontend tcp add`; `id` is the cluster's."""

    id: ClusterId
    address: Address
    tags: Tags | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpFrontendRemove:
    """Of `frontend tcp remove`; `id` is the cluster it is believed to lead to."""

    address: Address
    id: ClusterId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpListenerBody:
    """Of `listener tcp add` and `listener tcp update`."""

    address: ReachableAddress
    public_address: Address | None = None
    expect_proxy: bool | None = None
    front_timeout: Seconds | None = None
    back_timeout: Seconds | None = None
    connect_timeout: Seconds | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpListenerBody:
    """Of `listener http add`, `listener http update`, and `listener update`, which is for listeners of all kinds."""

    address: ReachableAddress
    public_address: Address | None = None
    expect_proxy: bool | None = None
    front_timeout: Seconds | None = None
    back_timeout: Seconds | None = None
    connect_timeout: Seconds | None = None
    request_timeout: Seconds | None = None
    sozu_id_header: FieldName | None = None
    elide_x_real_ip: bool | None = None
    send_x_real_ip: bool | None = None
    trusted_proxies: tuple[Network, ...] | None = None
    upgrade_protocols: tuple[Protocol, ...] | None = None
    via: Pseudonym | None = None
    max_head_size: HeadSize | None = None
    max_request_line: HeadSize | None = None
    max_fields: Positive | None = None
    max_body_size: Bytes | None = None
    max_requests_per_connection: Count | None = None
    min_body_rate: Bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerName:
    """Of `listener … activate`."""

    address: Address


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerStop:
    """Of `listener … remove` and `listener … deactivate`."""

    address: Address
    deadline: Seconds | None = None
    """After which its sessions are cut; 0 = now, None = never. Not with `drain`."""
    drain: bool = False
    """Answer when the last of its sessions has gone, or was cut."""
    drain_timeout: Seconds | None = None
    """Of `drain`: seconds after which they are cut; 0 = never, None = `shutdown_timeout`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimitSet:
    """Of `connection-limit set`: what `max_connections_per_ip` is from now on."""

    limit: Count


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionLimitRemove:
    """Of `connection-limit remove`, which needs nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggingBody:
    """Of `logging`; `filter` is the text of log directives."""

    filter: str
