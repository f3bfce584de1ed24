"""What traffic is sent to: clusters, the frontends that lead to them and the backends that serve them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Literal

from sozu_trio.config.addresses import Address
from sozu_trio.config.backend_tls import BackendTls
from sozu_trio.config.hsts import Hsts


class LoadBalancing(StrEnum):
    ROUND_ROBIN = "ROUND_ROBIN"
    RANDOM = "RANDOM"
    LEAST_LOADED = "LEAST_LOADED"
    POWER_OF_TWO = "POWER_OF_TWO"


class LoadMetric(StrEnum):
    """What LEAST_LOADED and POWER_OF_TWO compare."""

    CONNECTIONS = "connections"
    REQUESTS = "requests"
    CONNECTION_TIME = "connection_time"


class PathType(StrEnum):
    PREFIX = "PREFIX"
    EQUALS = "EQUALS"
    REGEX = "REGEX"


class Position(StrEnum):
    PRE = "PRE"
    TREE = "TREE"
    POST = "POST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """An application: how its backends are chosen and spoken to."""

    cluster_id: str
    protocol: Literal["http", "tcp"] | None = None
    """What the file says; over the socket it may stay unsaid, and frontends of both kinds may lead here."""
    load_balancing: LoadBalancing = LoadBalancing.ROUND_ROBIN
    load_metric: LoadMetric = LoadMetric.CONNECTIONS
    send_proxy: bool = False
    """tcp: a PROXY v2 header opens each backend connection."""
    max_idle_connections: int = 64
    """Backend connections kept for reuse, per backend and worker (http)."""
    idle_timeout: float = 30
    """Seconds a backend connection is kept for reuse; 0 = for ever."""
    max_connections_per_ip: int | None = None
    """Client connections of one client address that were routed here, over all workers; 0 = any number, None = as the
    global key says.
    """
    max_connections: int = 0
    """To its backends, idle ones included, of all workers together; 0 = any number."""
    max_queue: int = 100
    """Requests and TCP sessions that wait in a worker for a connection where there may be no more."""
    queue_timeout: float = 5
    """Seconds they wait at most; 0 = for ever."""
    max_requests: int = 0
    """HTTP requests a second, over all workers; 0 = any number."""
    max_requests_burst: int = 0
    """Of these at once, after a pause; 0 = those of one second."""
    retry_after: int | None = None
    """Seconds in Retry-After of its answers 429; 0 = the field is left out, None = as the global key says."""
    https_redirect: bool = False
    """Requests over plain HTTP are answered 301 to https."""
    https_redirect_port: int | None = None
    """The port in that redirect; None = that of https."""
    tls: BackendTls | None = None
    """None = backends are spoken to in plain text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpFrontend:
    """A routing rule of an http or https listener. Without a cluster it denies (401)."""

    address: Address
    hostname: str
    path: str = ""
    path_type: PathType = PathType.PREFIX
    method: str | None = None
    position: Position = Position.TREE
    cluster_id: str | None = None
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    hsts: Hsts | None = None
    """None = as the listener says, which only one of https can."""
    max_body_size: int | None = None
    """Bytes of a request's body, 413 beyond; 0 = any size, None = as the listener says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpFrontend:
    """Sends all sessions of a tcp listener to one cluster."""

    address: Address
    cluster_id: str
    tags: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """One server of a cluster."""

    cluster_id: str
    backend_id: str
    address: Address
    weight: int = 100
    backup: bool = False
    max_connections: int = 0
    """Idle ones included, of all workers together; 0 = any number."""
