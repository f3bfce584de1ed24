"""States as a configuration file and the socket could make them, for whatever keeps them."""

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from hypothesis import strategies as st

from sozu_trio.config.addresses import Address
from sozu_trio.config.backend_tls import BackendTls
from sozu_trio.config.certificates import ListenerCertificate
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
from sozu_trio.config.hsts import Hsts
from sozu_trio.config.limits import HeadLimits
from sozu_trio.config.listeners import HttpListener, HttpsListener, TcpListener, Timeouts
from sozu_trio.config.program import Settings
from sozu_trio.config.tls_settings import TlsSettings
from sozu_trio.routing.state import certificate_key, declare, frontend_key, with_declared
from tests.tls.parts import authorities, issue

IDS = st.sampled_from(["api", "web", "mail", "größe", 'with "quotes" and\nlines', "{"])
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
SECONDS = st.integers(0, 100) | st.floats(0, 1e6)
ADDRESSES = st.builds(Address, st.sampled_from(["127.0.0.1", "::1"]), st.integers(1, 5))
TAGS = st.dictionaries(TEXT, TEXT, max_size=2).map(MappingProxyType)
TIMEOUTS = st.builds(Timeouts, front=SECONDS, back=SECONDS, connect=SECONDS, request=SECONDS)
LIMITS = st.builds(
    HeadLimits, head=st.integers(8192, 1 << 20), request_line=st.integers(256, 8192), fields=st.integers(1, 100)
)
HTTP_LISTENERS = st.builds(
    HttpListener,
    address=ADDRESSES,
    public_address=st.none() | ADDRESSES,
    timeouts=TIMEOUTS,
    limits=LIMITS,
    sozu_id_header=st.sampled_from(["Sozu-Id", "X-Id"]),
    send_x_real_ip=st.booleans(),
    trusted_proxies=st.sampled_from([(), ("10.0.0.0/8", "::1/128")]),
    upgrade_protocols=st.sampled_from([(), ("websocket",)]),
    via=st.sampled_from(["", "sozu"]),
    active=st.booleans(),
)
TCP_LISTENERS = st.builds(
    TcpListener, address=ADDRESSES, expect_proxy=st.booleans(), timeouts=TIMEOUTS, active=st.booleans()
)
HSTS = st.builds(
    Hsts, enabled=st.booleans(), max_age=st.integers(0, 9), preload=st.booleans(), include_subdomains=st.booleans()
)
HTTPS_LISTENERS = st.builds(
    HttpsListener,
    address=ADDRESSES,
    timeouts=TIMEOUTS,
    limits=LIMITS,
    tls=st.builds(
        TlsSettings,
        versions=st.sampled_from([("TLS_V12",), ("TLS_V13", "TLS_V12")]),
        ciphers=st.sampled_from([TlsSettings().ciphers, ("ECDHE-RSA-AES128-GCM-SHA256",)]),
        groups=st.sampled_from([(), ("prime256v1",)]),
        alpn=st.sampled_from([("http/1.1",), ()]),
        tickets=st.integers(0, 255),
    )
    | st.builds(
        TlsSettings,
        client_auth=st.sampled_from(["optional", "required"]),
        client_ca=st.sampled_from([each.pem.decode() for each in authorities("one", "two")]),
    ),
    client_san_header=st.sampled_from(["X-Client-San", ""]),
    strict_sni_binding=st.booleans(),
    hsts=st.none() | HSTS,
    active=st.booleans(),
)
PEMS = tuple(issue(f"{name}.example").read() for name in ("a", "b", "*"))
CERTIFICATES = st.builds(
    ListenerCertificate, address=ADDRESSES, certificate=st.sampled_from(PEMS), default=st.booleans()
)
_AUTHORITY = issue(common_name="authority", authority=True)
BACKEND_TLS = st.builds(
    BackendTls,
    server_name=st.none() | st.sampled_from(["api.internal", "10.0.0.1"]),
    ca=st.none() | st.just(_AUTHORITY.pem.decode()),
    fingerprint=st.none() | st.just("ab" * 32),
    certificate=st.none() | st.just(issue("proxy.example").read()),
    versions=st.sampled_from([("TLS_V12",), ("TLS_V12", "TLS_V13")]),
) | st.just(BackendTls(verify=False))
CLUSTERS = st.builds(
    Cluster,
    cluster_id=IDS,
    protocol=st.sampled_from(["http", "tcp", None]),
    load_balancing=st.sampled_from(LoadBalancing),
    load_metric=st.sampled_from(LoadMetric),
    send_proxy=st.booleans(),
    max_idle_connections=st.integers(0, 9),
    max_connections_per_ip=st.none() | st.integers(0, 9),
    max_connections=st.integers(0, 9),
    max_queue=st.integers(0, 9),
    max_requests=st.integers(0, 9),
    max_requests_burst=st.integers(0, 9),
    queue_timeout=SECONDS,
    retry_after=st.none() | st.integers(0, 9),
    idle_timeout=SECONDS,
    https_redirect=st.booleans(),
    https_redirect_port=st.none() | st.integers(1, 65535),
    tls=st.none() | BACKEND_TLS,
)
HTTP_FRONTENDS = st.builds(
    HttpFrontend,
    address=ADDRESSES,
    hostname=st.sampled_from(["example.com", "*", "*.example.com", "/a+/.example.com"]),
    path=st.sampled_from(["", "/", "/a", "/é"]),
    path_type=st.sampled_from(PathType),
    method=st.sampled_from([None, "GET", "PURGE"]),
    position=st.sampled_from(Position),
    cluster_id=st.none() | IDS,
    tags=TAGS,
    hsts=st.none() | HSTS,
)
TCP_FRONTENDS = st.builds(TcpFrontend, address=ADDRESSES, cluster_id=IDS, tags=TAGS)
BACKENDS = st.builds(
    Backend,
    cluster_id=IDS,
    backend_id=IDS,
    address=ADDRESSES,
    weight=st.integers(0, 255),
    backup=st.booleans(),
    max_connections=st.integers(0, 9),
)
SETTINGS = st.builds(Settings, timeouts=TIMEOUTS, log_level=st.sampled_from(["info", "debug"]))


def distinct(records: st.SearchStrategy[Any], key: Callable[[Any], Any]) -> st.SearchStrategy[list[Any]]:
    return st.lists(records, max_size=3, unique_by=key)


FLAT_STATES = st.builds(
    declare,
    distinct(HTTP_LISTENERS | HTTPS_LISTENERS | TCP_LISTENERS, lambda listener: listener.address),
    distinct(CLUSTERS, lambda cluster: cluster.cluster_id),
    distinct(HTTP_FRONTENDS, frontend_key),
    distinct(TCP_FRONTENDS, lambda frontend: frontend.address),
    distinct(BACKENDS, lambda backend: (backend.cluster_id, backend.backend_id)),
    st.just(Settings()) | SETTINGS,
    distinct(CERTIFICATES, certificate_key),
)
STATES = st.builds(with_declared, FLAT_STATES, st.none() | FLAT_STATES)
"""Some remember what a file declared."""
