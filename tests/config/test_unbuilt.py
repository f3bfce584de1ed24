"""Keys of features that do not exist yet: accepted with a warning, or refused."""

import dataclasses
from collections.abc import Callable

import pytest

from sozu_trio.config import schema, unbuilt
from sozu_trio.config.load import Config
from sozu_trio.config.unbuilt import changed_keys

Problems = Callable[[str], list[str]]
Load = Callable[[str], Config]

HTTP = "listeners = [{ address = '127.0.0.1:80', protocol = 'http', %s }]"
HTTPS = "listeners = [{ address = '127.0.0.1:443', protocol = 'https', %s }]"
TCP = "listeners = [{ address = '127.0.0.1:80', protocol = 'tcp', %s }]"
CLUSTER = "[clusters.api]\nprotocol = 'http'\n%s"
TCP_CLUSTER = "[clusters.api]\nprotocol = 'tcp'\n%s"
FRONTEND = CLUSTER % "frontends = [{ address = '127.0.0.1:80', hostname = 'a.example', %s }]"
TCP_FRONTEND = TCP_CLUSTER % "frontends = [{ address = '127.0.0.1:80', %s }]"
BACKEND = CLUSTER % "backends = [{ address = '127.0.0.1:1', %s }]"
BALANCING = "want 'ROUND_ROBIN', 'RANDOM', 'LEAST_LOADED' or 'POWER_OF_TWO'; not built yet: consistent hashing"


def warnings(config: Config) -> list[str]:
    return [str(notice) for notice in config.notices if notice.level == "warning"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("access_logs_format = 'protobuf'",
         "access_logs_format: found 'protobuf'; want 'ascii' or 'json'; not built yet: protobuf access logs"),
        (HTTPS % "disable_http11 = true",
         "listeners[0].disable_http11: found true; want false; not built yet: HTTP/2"),
        ("listeners = [{ address = '127.0.0.1:80', protocol = 'udp', max_flows = 3 }]",
         "listeners[0].protocol: found 'udp'; want 'http', 'https' or 'tcp'; not built yet: udp listeners"),
        (HTTP % "answer_404 = 'a'",
         "listeners[0].answer_404: found 'a'; want this key left out; not built yet: custom answers"),
        (HTTP % "answers = { 503 = 'x' }",
         "listeners[0].answers: found a table; want this key left out; not built yet: custom answers"),
        (CLUSTER % "sticky_session = true",
         "clusters.api.sticky_session: found true; want false; not built yet: sticky sessions"),
        (CLUSTER % "load_balancing = 'HRW'", f"clusters.api.load_balancing: found 'HRW'; {BALANCING}"),
        (TCP_CLUSTER % "load_balancing = 'MAGLEV'", f"clusters.api.load_balancing: found 'MAGLEV'; {BALANCING}"),
        (CLUSTER % "http2 = true", "clusters.api.http2: found true; want false; not built yet: HTTP/2"),
        (CLUSTER % "authorized_hashes = ['a:b']",
         "clusters.api.authorized_hashes: found an array; want this key left out; not built yet: authentication"),
        (CLUSTER % "health_check = { uri = '/' }",
         "clusters.api.health_check: found a table; want this key left out; not built yet: health checks"),
        (TCP_CLUSTER % "udp = { responses = 1 }",
         "clusters.api.udp: found a table; want this key left out; not built yet: UDP"),
        (FRONTEND % "tls_versions = ['TLS_V13']",
         "clusters.api.frontends[0].tls_versions: found an array; want tls_versions of the listener; "
         "Python's ssl decides on the version before it knows which name a client asks for"),
        (FRONTEND % "redirect = 'permanent'",
         "clusters.api.frontends[0].redirect: found 'permanent'; want 'forward'; not built yet: redirects"),
        (FRONTEND % "rewrite_port = 80",
         "clusters.api.frontends[0].rewrite_port: found 80; want this key left out; not built yet: rewriting"),
        (FRONTEND % "required_auth = true",
         "clusters.api.frontends[0].required_auth: found true; want false; not built yet: authentication"),
        (FRONTEND % "headers = [{ position = 'both', key = 'a', value = 'b' }]",
         "clusters.api.frontends[0].headers: found an array; want this key left out; not built yet: header edits"),
    ],
)  # fmt: skip
def test_refused_where_a_client_would_notice(problems: Problems, text: str, problem: str) -> None:
    assert problems(text) == [problem]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("access_logs_format = 'jsn'", "access_logs_format: found 'jsn'; want 'ascii' or 'json'"),
        ("listeners = [{ address = '127.0.0.1:80', protocol = 'htp' }]",
         "listeners[0].protocol: found 'htp'; want 'http', 'https' or 'tcp'"),
        (CLUSTER % "load_balancing = 'HR'",
         "clusters.api.load_balancing: found 'HR'; want 'ROUND_ROBIN', 'RANDOM', 'LEAST_LOADED' or 'POWER_OF_TWO'"),
        (FRONTEND % "redirect = 'perm'", "clusters.api.frontends[0].redirect: found 'perm'; want 'forward'"),
    ],
)  # fmt: skip
def test_what_is_not_built_is_not_proposed(problems: Problems, text: str, problem: str) -> None:
    assert problems(text) == [problem]


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            "command_buffer_size = 16384",
            "command_buffer_size: has no effect: memory is taken as it is needed and given back",
        ),
        ("max_buffers = 500", "max_buffers: has no effect: memory is taken as it is needed and given back"),
        ("handle_process_affinity = true", "handle_process_affinity: has no effect, as in Sōzu"),
        ("metrics = { address = '127.0.0.1:8125' }", "metrics: not built yet: sending metrics"),
        (HTTP % "h2_max_ping_per_window = 7", "listeners[0].h2_max_ping_per_window: has no effect on an http listener"),
        (HTTP % "cipher_list = ['x']", "listeners[0].cipher_list: has no effect on an http listener"),
        (TCP % "request_timeout = 7", "listeners[0].request_timeout: has no effect on a tcp listener"),
        (TCP % "answer_404 = 'x'", "listeners[0].answer_404: has no effect on a tcp listener"),
        (
            CLUSTER % "https_redirect_port = 443",
            "clusters.api.https_redirect_port: has no effect without https_redirect",
        ),
        (CLUSTER % "send_proxy = true", "clusters.api.send_proxy: has no effect on an http cluster"),
        (TCP_CLUSTER % "sticky_session = true", "clusters.api.sticky_session: has no effect on a tcp cluster"),
        (
            FRONTEND % "redirect_template = 'x'",
            "clusters.api.frontends[0].redirect_template: has no effect without redirect",
        ),
        (TCP_FRONTEND % "method = 'GET'", "clusters.api.frontends[0].method: has no effect on a tcp frontend"),
        (BACKEND % "sticky_id = 'a'", "clusters.api.backends[0].sticky_id: has no effect without sticky_session"),
    ],
)
def test_a_warning_where_no_client_would(load: Load, text: str, warning: str) -> None:
    assert warnings(load(text)) == [warning]


@pytest.mark.parametrize(
    "text",
    [
        "max_connections_per_ip = 0",
        "buffer_size = 16393",
        "metrics = {}",
        "metrics = { prefix = 'sozu' }",
        HTTP % "answers = {}, sticky_name = 'any', alpn_protocols = ['h2', 'http/1.1']",
        CLUSTER % "sticky_session = false\nmax_connections_per_ip = 0\nudp = { requests = 0 }\nwww_authenticate = ''",
        FRONTEND % "redirect = 'forward', headers = [], required_auth = false",
    ],
)
def test_what_a_default_says_needs_no_remark(load: Load, text: str) -> None:
    assert warnings(load(text)) == []


def test_changed_keys_come_with_their_defaults() -> None:
    assert changed_keys(schema.BackendTable(weight=50, backup=False, sticky_id="a")) == {
        "weight": (50, 100),
        "sticky_id": ("a", None),
    }


@pytest.mark.parametrize(
    ("rules", "table"),
    [
        (unbuilt.GLOBAL, schema.FileTable),
        (unbuilt.LISTENER, schema.ListenerTable),
        (unbuilt.CLUSTER, schema.ClusterTable),
        (unbuilt.FRONTEND, schema.FrontendTable),
        (unbuilt.BACKEND, schema.BackendTable),
        *((keys, schema.ListenerTable) for keys in unbuilt.IDLE_ON_LISTENER.values()),
        *((keys, schema.ClusterTable) for keys in unbuilt.IDLE_ON_CLUSTER.values()),
        *((keys, schema.FrontendTable) for keys in unbuilt.IDLE_ON_FRONTEND.values()),
    ],
)
def test_every_key_named_here_is_a_key(rules: list[str], table: type) -> None:
    assert set(rules) <= {each.name for each in dataclasses.fields(table)}
