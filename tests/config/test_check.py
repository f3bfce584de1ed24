"""Rules that hold between tables of a configuration."""

from collections.abc import Callable

from sozu_trio.config.addresses import Address
from sozu_trio.config.listeners import HttpListener, TcpListener, Timeouts
from sozu_trio.config.load import Config

Problems = Callable[[str], list[str]]
Load = Callable[[str], Config]

HTTP = "[[listeners]]\nprotocol = 'http'\naddress = '127.0.0.1:80'\n"
TCP = "[[listeners]]\nprotocol = 'tcp'\naddress = '127.0.0.1:81'\n"


def test_one_address_one_listener(problems: Problems) -> None:
    assert problems(HTTP + TCP + HTTP) == [
        "listeners[2].address: found '127.0.0.1:80', where listeners[0] listens; want another"
    ]


def test_a_listener_of_unknown_protocol_still_takes_its_address(problems: Problems) -> None:
    text = HTTP + "[[listeners]]\naddress = '127.0.0.1:80'\nprotocl = 'http'\n"
    assert problems(text) == [
        "listeners[1].protocl: unknown key; did you mean 'protocol'?",
        "listeners[1].address: found '127.0.0.1:80', where listeners[0] listens; want another",
        "listeners[1].protocol: missing; want 'http', 'https' or 'tcp'",
    ]


def test_public_address_or_proxy_header(problems: Problems) -> None:
    assert problems(HTTP + "public_address = '192.0.2.1:80'\nexpect_proxy = true") == [
        "listeners[0].public_address: found '192.0.2.1:80' and expect_proxy = true; want only one of both"
    ]


def test_no_hsts_over_plain_http(problems: Problems) -> None:
    assert problems(HTTP + "hsts = { enabled = false }") == [
        "listeners[0].hsts: found a table; want none: HSTS never goes out over plain HTTP (RFC 6797 §7.2)"
    ]


def test_frontends_without_listener_get_one(load: Load) -> None:
    config = load("""
        front_timeout = 5
        activate_listeners = false
        [clusters.api]
        protocol = "http"
        frontends = [
          { address = "127.0.0.1:80", hostname = "a.example" },
          { address = "127.0.0.1:80", hostname = "b.example" },
        ]
        [clusters.db]
        protocol = "tcp"
        frontends = [{ address = "127.0.0.1:81" }]
        """)
    timeouts = Timeouts(front=5)
    assert config.listeners == (
        HttpListener(address=Address("127.0.0.1", 80), timeouts=timeouts, active=False),
        TcpListener(address=Address("127.0.0.1", 81), timeouts=timeouts, active=False),
    )
    assert [(notice.level, str(notice)) for notice in config.notices] == [
        ("info", "clusters.api.frontends[0]: no listener at 127.0.0.1:80: a default http listener is created"),
        ("info", "clusters.db.frontends[0]: no listener at 127.0.0.1:81: a default tcp listener is created"),
    ]


def test_frontends_name_listeners_of_their_protocol(problems: Problems) -> None:
    text = (
        HTTP
        + TCP
        + """
        [clusters.api]
        protocol = "http"
        frontends = [{ address = "127.0.0.1:81", hostname = "*" }]
        [clusters.db]
        protocol = "tcp"
        frontends = [{ address = "127.0.0.1:80" }]
        """
    )
    assert problems(text) == [
        "clusters.api.frontends[0].address: "
        "found '127.0.0.1:81', a tcp listener (listeners[1]); want one that speaks http",
        "clusters.db.frontends[0].address: "
        "found '127.0.0.1:80', an http listener (listeners[0]); want one that speaks tcp",
    ]


def test_a_listener_that_is_created_has_a_protocol_too(problems: Problems) -> None:
    text = """
        [clusters.api]
        protocol = "http"
        frontends = [{ address = "127.0.0.1:80", hostname = "*" }]
        [clusters.db]
        protocol = "tcp"
        frontends = [{ address = "127.0.0.1:80" }]
        """
    assert problems(text) == [
        "clusters.db.frontends[0].address: "
        "found '127.0.0.1:80', an http listener (clusters.api.frontends[0]); want one that speaks tcp"
    ]


def test_a_listener_that_is_refused_is_refused_once(problems: Problems) -> None:
    text = """
        listeners = [{ protocol = "udp", address = "127.0.0.1:443" }, { protocol = "htp", address = "127.0.0.1:80" }]
        [clusters.api]
        protocol = "http"
        frontends = [
          { address = "127.0.0.1:80", hostname = "*" },
        ]
        """
    assert [problem.split(":")[0] for problem in problems(text)] == ["listeners[1].protocol", "listeners[0].protocol"]


def test_a_tcp_listener_has_one_cluster(problems: Problems) -> None:
    text = (
        TCP
        + """
        [clusters.db]
        protocol = "tcp"
        frontends = [{ address = "127.0.0.1:81" }]
        [clusters.cache]
        protocol = "tcp"
        frontends = [{ address = "127.0.0.1:81" }]
        """
    )
    assert problems(text) == [
        "clusters.cache.frontends[0].address: "
        "found '127.0.0.1:81', which clusters.db.frontends[0] sends to cluster 'db'; want another"
    ]


def test_a_tcp_cluster_gets_proxy_headers_from_all_or_none(problems: Problems) -> None:
    text = """
        listeners = [
          { address = "127.0.0.1:80", protocol = "tcp", expect_proxy = true },
          { address = "127.0.0.1:81", protocol = "tcp" },
        ]
        [clusters.db]
        protocol = "tcp"
        frontends = [{ address = "127.0.0.1:80" }, { address = "127.0.0.1:81" }]
        """
    assert problems(text) == [
        "clusters.db.frontends: found listener 127.0.0.1:80 with expect_proxy and 127.0.0.1:81 without; want all alike"
    ]


def test_one_rule_one_frontend(problems: Problems) -> None:
    text = (
        HTTP
        + """
        [clusters.api]
        protocol = "http"
        frontends = [
          { address = "127.0.0.1:80", hostname = "a.example", path = "/x" },
          { address = "127.0.0.1:80", hostname = "a.example", path = "/x", method = "GET" },
          { address = "127.0.0.1:80", hostname = "a.example", path = "/x", path_type = "EQUALS" },
        ]
        [clusters.other]
        protocol = "http"
        frontends = [{ address = "127.0.0.1:80", hostname = "A.example", path = "/x", position = "POST" }]
        """
    )
    assert problems(text) == [
        "clusters.other.frontends[0]: asks the same of a request as clusters.api.frontends[0] "
        "(address, hostname, path, method); want only one"
    ]


def test_two_hosts_that_are_none_may_still_be_one_rule(problems: Problems) -> None:
    frontend = "{ address = '127.0.0.1:80', hostname = 'a..b' }"
    found = problems(f"clusters.api = {{ protocol = 'http', frontends = [{frontend}, {frontend}] }}")
    assert len(found) == 3
    assert found[2].startswith("clusters.api.frontends[1]: asks the same")


def test_a_backend_id_is_one_backends_own(problems: Problems) -> None:
    text = """
        [clusters.db]
        protocol = "tcp"
        backends = [{ address = "127.0.0.1:1", backend_id = "a" }, { address = "127.0.0.1:2", backend_id = "a" }]
        [clusters.cache]
        protocol = "tcp"
        backends = [{ address = "127.0.0.1:1", backend_id = "a" }]
        """
    assert problems(text) == [
        "clusters.db.backends[1].backend_id: found 'a', the id of clusters.db.backends[0]; want one of its own"
    ]
