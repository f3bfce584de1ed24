"""Tables to records, with their defaults."""

from collections.abc import Callable

import pytest

from sozu_trio.config.addresses import Address
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
from sozu_trio.config.limits import HeadLimits
from sozu_trio.config.listeners import HttpListener, TcpListener, Timeouts
from sozu_trio.config.load import Config

Problems = Callable[[str], list[str]]
Load = Callable[[str], Config]

HERE = Address("127.0.0.1", 80)
WANT_ADDRESS = "missing; want ip:port, such as 127.0.0.1:8080 or [::1]:8080"


def test_a_plain_listener_of_each_kind(load: Load) -> None:
    config = load("""
        listeners = [{ address = "127.0.0.1:80", protocol = "http" }, { address = "[::1]:81", protocol = "tcp" }]
        """)
    assert config.listeners == (HttpListener(address=HERE), TcpListener(address=Address("::1", 81)))


def test_every_key_of_an_http_listener(load: Load) -> None:
    config = load(
        """
        activate_listeners = false
        back_timeout = 7
        [[listeners]]
        address = "127.0.0.1:80"
        protocol = "http"
        public_address = "192.0.2.1:80"
        front_timeout = 0
        connect_timeout = 1
        request_timeout = 2.5
        sozu_id_header = "X-Id"
        elide_x_real_ip = true
        send_x_real_ip = true
        trusted_proxies = ["10.0.0.0/8", "::1"]
        upgrade_protocols = ["WebSocket", "x-own"]
        via = "edge"
        max_head_size = 4096
        max_request_line = 2048
        max_fields = 10
        max_body_size = 11
        max_requests_per_connection = 12
        min_body_rate = 13
        """
    )
    assert config.listeners == (
        HttpListener(
            address=HERE,
            public_address=Address("192.0.2.1", 80),
            timeouts=Timeouts(front=0, back=7, connect=1, request=2.5),
            limits=HeadLimits(head=4096, request_line=2048, fields=10),
            sozu_id_header="X-Id",
            elide_x_real_ip=True,
            send_x_real_ip=True,
            trusted_proxies=("10.0.0.0/8", "::1/128"),
            upgrade_protocols=("websocket", "x-own"),
            via="edge",
            max_body_size=11,
            max_requests_per_connection=12,
            min_body_rate=13,
            active=False,
        ),
    )


def test_every_key_of_a_tcp_listener(load: Load) -> None:
    config = load("""
        front_timeout = 7
        activate_listeners = false
        listeners = [{ address = "127.0.0.1:80", protocol = "tcp", expect_proxy = true, back_timeout = 8 }]
        """)
    timeouts = Timeouts(front=7, back=8)
    assert config.listeners == (TcpListener(address=HERE, expect_proxy=True, timeouts=timeouts, active=False),)


def test_a_request_line_is_part_of_its_head(load: Load, problems: Problems) -> None:
    text = "listeners = [{ address = '127.0.0.1:80', protocol = 'http', max_head_size = 512, %s }]"
    [listener] = load(text.replace(", %s", "")).listeners
    assert isinstance(listener, HttpListener)
    assert listener.limits == HeadLimits(head=512, request_line=512)
    assert problems(text % "max_request_line = 513") == [
        "listeners[0].max_request_line: found 513; want at most max_head_size, which is 512"
    ]


def test_a_listener_needs_address_and_protocol(problems: Problems) -> None:
    assert problems("listeners = [{}]") == [
        f"listeners[0].address: {WANT_ADDRESS}",
        "listeners[0].protocol: missing; want 'http', 'https' or 'tcp'",
    ]


def test_every_key_of_an_http_cluster(load: Load) -> None:
    config = load("""
        listeners = [{ address = "127.0.0.1:80", protocol = "http" }]
        [clusters.api]
        protocol = "http"
        load_balancing = "LEAST_LOADED"
        load_metric = "requests"
        max_idle_connections = 0
        max_connections_per_ip = 3
        max_connections = 5
        max_queue = 6
        queue_timeout = 7
        max_requests = 8
        max_requests_burst = 9
        retry_after = 4
        idle_timeout = 0
        frontends = [
          { address = "127.0.0.1:80", hostname = "a.example" },
          { address = "127.0.0.1:80", hostname = "*.example" },
        ]
        backends = [
          { address = "127.0.0.1:1" },
          { address = "127.0.0.1:2", backend_id = "two", weight = 0, backup = true, max_connections = 8 },
        ]
        """)
    assert config.clusters == (
        Cluster(
            cluster_id="api",
            protocol="http",
            load_balancing=LoadBalancing.LEAST_LOADED,
            load_metric=LoadMetric.REQUESTS,
            max_idle_connections=0,
            max_connections_per_ip=3,
            max_connections=5,
            max_queue=6,
            queue_timeout=7,
            max_requests=8,
            max_requests_burst=9,
            retry_after=4,
            idle_timeout=0,
        ),
    )
    assert config.http_frontends == (
        HttpFrontend(address=HERE, hostname="a.example", cluster_id="api"),
        HttpFrontend(address=HERE, hostname="*.example", cluster_id="api"),
    )
    assert config.backends == (
        Backend(cluster_id="api", backend_id="api-0-127.0.0.1:1", address=Address("127.0.0.1", 1)),
        Backend(
            cluster_id="api",
            backend_id="two",
            address=Address("127.0.0.1", 2),
            weight=0,
            backup=True,
            max_connections=8,
        ),
    )
    assert config.notices == ()


def test_every_key_of_an_http_frontend(load: Load) -> None:
    config = load("""
        listeners = [{ address = "127.0.0.1:80", protocol = "http" }]
        [clusters.api]
        protocol = "http"
        [[clusters.api.frontends]]
        address = "127.0.0.1:80"
        hostname = "*.example"
        path = "/v[0-9]"
        path_type = "REGEX"
        method = "get"
        position = "POST"
        tags = { team = "a" }
        """)
    assert config.http_frontends == (
        HttpFrontend(
            address=HERE,
            hostname="*.example",
            path="/v[0-9]",
            path_type=PathType.REGEX,
            method="GET",
            position=Position.POST,
            cluster_id="api",
            tags={"team": "a"},
        ),
    )


@pytest.mark.parametrize("path_type", ["PREFIX", "EQUALS"])
def test_a_path_that_no_request_can_match_is_told(load: Load, path_type: str) -> None:
    """Sōzu takes it."""
    config = load(f"""
        listeners = [{{ address = "127.0.0.1:80", protocol = "http" }}]
        [clusters.api]
        protocol = "http"
        frontends = [{{ address = "127.0.0.1:80", hostname = "*", path = "v2", path_type = "{path_type}" }}]
        """)
    (notice,) = config.notices
    what = "no request can match 'v2': a path begins with '/'"
    assert (notice.level, str(notice)) == ("warning", f"clusters.api.frontends[0].path: {what}")
    assert config.http_frontends[0].path == "v2"


def test_a_tcp_cluster(load: Load) -> None:
    config = load("""
        listeners = [{ address = "127.0.0.1:80", protocol = "tcp" }]
        [clusters.db]
        protocol = "tcp"
        send_proxy = true
        frontends = [{ address = "127.0.0.1:80", tags = { team = "b" } }]
        """)
    assert config.clusters == (Cluster(cluster_id="db", protocol="tcp", send_proxy=True),)
    assert config.tcp_frontends == (TcpFrontend(address=HERE, cluster_id="db", tags={"team": "b"}),)
    assert config.backends == ()


def test_an_http_cluster_sends_no_proxy_header(load: Load) -> None:
    assert load("clusters.api = { protocol = 'http', send_proxy = true }").clusters == (
        Cluster(cluster_id="api", protocol="http"),
    )


def test_a_cluster_needs_a_protocol(problems: Problems) -> None:
    text = "clusters.api = { frontends = [{ address = '127.0.0.1:80' }] }"
    assert problems(text) == ["clusters.api.protocol: missing; want 'http' or 'tcp'"]


@pytest.mark.parametrize(
    ("frontend", "complaints"),
    [
        ("hostname = 'a.example'", [f"address: {WANT_ADDRESS}"]),
        ("address = '127.0.0.1:80'", ["hostname: missing; want a host, such as example.com, *.example.com or *"]),
        ("address = '127.0.0.1:80', hostname = '*', path = '[', path_type = 'REGEX'",
         ["path: '[' is not a regex: unterminated character set at position 0"]),
        ("address = '127.0.0.1:80', hostname = '*', hsts = { enabled = false }",
         ["hsts: found a table; want none: HSTS never goes out over plain HTTP (RFC 6797 §7.2)"]),
    ],
)  # fmt: skip
def test_an_http_frontend(problems: Problems, frontend: str, complaints: list[str]) -> None:
    text = f"clusters.api = {{ protocol = 'http', frontends = [{{ {frontend} }}] }}"
    assert problems(text) == [f"clusters.api.frontends[0].{complaint}" for complaint in complaints]


def test_a_host_that_is_none(problems: Problems) -> None:
    frontend = "{ address = '127.0.0.1:80', hostname = 'a..b' }"
    [problem] = problems(f"clusters.api = {{ protocol = 'http', frontends = [{frontend}] }}")
    assert problem.startswith("clusters.api.frontends[0].hostname: 'a..b' is not a host: a label is empty; want ")


@pytest.mark.parametrize(
    ("key", "found"),
    [
        *[("hostname = 'a'", "'a'"), ("path = '/'", "'/'"), ("certificate = 'c'", "'c'"), ("key = 'k'", "'k'")],
        *[("certificate_chain = 'c'", "'c'"), ("hsts = { enabled = true }", "a table")],
    ],
)
def test_a_tcp_frontend_has_nothing_to_choose_by(problems: Problems, key: str, found: str) -> None:
    text = f"clusters.db = {{ protocol = 'tcp', frontends = [{{ address = '127.0.0.1:80', {key} }}] }}"
    name = key.split(" ")[0]
    assert problems(text) == [
        f"clusters.db.frontends[0].{name}: found {found}; want none: "
        "a tcp frontend sends all of its listener to one cluster"
    ]


def test_a_tcp_frontend_needs_an_address(problems: Problems) -> None:
    text = "clusters.db = { protocol = 'tcp', frontends = [{}] }"
    assert problems(text) == [f"clusters.db.frontends[0].address: {WANT_ADDRESS}"]


def test_a_backend_needs_an_address_to_connect_to(problems: Problems) -> None:
    text = "clusters.db = { protocol = 'tcp', backends = [{ weight = 3 }, { address = '127.0.0.1:0' }] }"
    assert problems(text) == [
        "clusters.db.backends[1].address: found '127.0.0.1:0'; want a port from 1 to 65535",
        f"clusters.db.backends[0].address: {WANT_ADDRESS}",
    ]


def test_no_listener_is_at_a_port_that_each_worker_would_choose(problems: Problems) -> None:
    text = """
    listeners = [{ protocol = "http", address = "127.0.0.1:0" }]
    clusters.db = { protocol = "tcp", frontends = [{ address = "[::1]:0" }] }
    """
    assert problems(text) == [
        "listeners[0].address: found '127.0.0.1:0'; want a port from 1 to 65535",
        "clusters.db.frontends[0].address: found '[::1]:0'; want a port from 1 to 65535",
    ]
