"""Each request of Sōzu's, and what becomes of each of its members."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.report import Report
from sozu_trio.control.sozu_requests import SozuChange, translate

LOCAL = {"ip": {"inner": {"V4": 2130706433}}, "port": 80}


def request(kind: str, body: object) -> dict[str, Any]:
    return {"id": "SAVE-0", "content": {"request_type": {kind: body}}}


def understood(kind: str, **body: Any) -> SozuChange:
    change, lost = partly(kind, **body)
    assert lost == []
    return change


def partly(kind: str, **body: Any) -> tuple[SozuChange, list[str]]:
    report = Report()
    return translate(request(kind, body), "records[0]", report), [str(problem) for problem in report.problems]


HTTP_LISTENER = {
    "address": LOCAL,
    "public_address": None,
    "expect_proxy": False,
    "sticky_name": "SOZUBALANCEID",
    "front_timeout": 60,
    "back_timeout": 30,
    "connect_timeout": 3,
    "request_timeout": 10,
    "active": True,
    "http_answers": None,
    "answers": {},
    "h2_max_ping_per_window": 7,
    "sozu_id_header": "X-Id",
    "elide_x_real_ip": False,
}


def test_listeners() -> None:
    change = understood("ADD_HTTP_LISTENER", **HTTP_LISTENER)
    assert change.verb == "listener http add"
    assert change.where == "records[0]"
    assert change.body == {
        "address": "127.0.0.1:80",
        "expect-proxy": False,
        "front-timeout": 60,
        "back-timeout": 30,
        "connect-timeout": 3,
        "request-timeout": 10,
        "sozu-id-header": "X-Id",
        "elide-x-real-ip": False,
    }
    tcp = understood("ADD_TCP_LISTENER", address=LOCAL, public_address=LOCAL, expect_proxy=True, active=False)
    assert tcp.verb == "listener tcp add"
    assert tcp.body == {"address": "127.0.0.1:80", "public-address": "127.0.0.1:80", "expect-proxy": True}


@pytest.mark.parametrize(("number", "protocol"), [(0, "http"), (1, "https"), (2, "tcp")])
def test_activation(number: int, protocol: str) -> None:
    change = understood("ACTIVATE_LISTENER", address=LOCAL, proxy=number, from_scm=False)
    assert change.verb == f"listener {protocol} activate"
    assert change.body == {"address": "127.0.0.1:80"}


def test_a_cluster() -> None:
    change = understood(
        "ADD_CLUSTER", cluster_id="api", sticky_session=False, https_redirect=False, load_balancing=0, http2=False
    )
    assert change.verb == "cluster add"
    assert change.body == {"id": "api", "load-balancing-policy": "ROUND_ROBIN"}


@pytest.mark.parametrize(("number", "sends"), [(0, None), (1, True), (2, True)])
def test_proxy_protocol(number: int, sends: bool | None) -> None:
    change = understood("ADD_CLUSTER", cluster_id="a", proxy_protocol=number, load_balancing=3, load_metric=2)
    assert change.body.get("send-proxy") is sends
    assert change.body["load-balancing-policy"] == "POWER_OF_TWO"
    assert change.body["load-metric"] == "connection_time"


FRONTEND = {
    "cluster_id": "api",
    "address": LOCAL,
    "hostname": "example.com",
    "path": {"kind": 0, "value": "/"},
    "method": None,
    "position": 2,
    "tags": {},
}


def test_an_http_frontend() -> None:
    change = understood("ADD_HTTP_FRONTEND", **FRONTEND, redirect=0, required_auth=False, headers=[])
    assert change.verb == "frontend http add"
    assert change.body == {
        "cluster": "api",
        "address": "127.0.0.1:80",
        "hostname": "example.com",
        "path-prefix": "/",
        "position": "TREE",
    }


SAID = {"cluster": "api", "path-prefix": "/", "position": "TREE"}
NO_PREFIX = {"cluster": "api", "position": "TREE"}


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"cluster_id": None}, {"deny": True, "path-prefix": "/", "position": "TREE"}),
        ({"path": {"kind": 0, "value": ""}}, NO_PREFIX),
        ({"path": {"kind": 1, "value": "/a.*"}}, NO_PREFIX | {"path-regex": "/a.*"}),
        ({"path": {"kind": 2, "value": "/a"}}, NO_PREFIX | {"path-equals": "/a"}),
        ({"position": 0}, SAID | {"position": "PRE"}),
        ({"position": 1}, SAID | {"position": "POST"}),
        ({"method": "GET", "tags": {"owner": "web"}}, SAID | {"method": "GET", "tags": {"owner": "web"}}),
    ],
)
def test_what_a_rule_asks(members: dict[str, Any], said: dict[str, Any]) -> None:
    body = understood("ADD_HTTP_FRONTEND", **(FRONTEND | members)).body
    assert body == {"address": "127.0.0.1:80", "hostname": "example.com", **said}


def test_a_tcp_frontend() -> None:
    change = understood("ADD_TCP_FRONTEND", cluster_id="mail", address=LOCAL, tags={})
    assert (change.verb, change.body) == ("frontend tcp add", {"id": "mail", "address": "127.0.0.1:80"})


@pytest.mark.parametrize(("parameters", "weight"), [(None, {}), ({"weight": 0}, {}), ({"weight": 7}, {"weight": 7})])
def test_a_backend(parameters: object, weight: dict[str, int]) -> None:
    change = understood(
        "ADD_BACKEND",
        cluster_id="api",
        backend_id="api-1",
        address=LOCAL,
        sticky_id="x",
        load_balancing_parameters=parameters,
        backup=None,
    )
    assert change.verb == "backend add"
    assert change.body == {"id": "api", "backend-id": "api-1", "address": "127.0.0.1:80", **weight}


@pytest.mark.parametrize(
    ("inner", "shown"),
    [
        ({"V4": 0}, "0.0.0.0:9"),
        ({"V4": 2**32 - 1}, "255.255.255.255:9"),
        ({"V6": 1}, "[::1]:9"),
        ({"V6": [0x20, 1, *[0] * 13, 5]}, "[2001::5]:9"),
        ({"V6": {"low": 1, "high": 0x20010DB8 << 32}}, "[2001:db8::1]:9"),
        ({"V6": {"low_bits": 2**64 - 1, "high_bits": 0}}, "[::ffff:ffff:ffff:ffff]:9"),
    ],
)
def test_addresses(inner: object, shown: str) -> None:
    address = {"ip": {"inner": inner}, "port": 9}
    assert understood("ADD_TCP_FRONTEND", address=address, cluster_id="a").body["address"] == shown


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:80",
        [],
        {},
        {"ip": {"inner": {"V4": 1}}},
        {"ip": {"inner": {"V4": 1}}, "port": 65536},
        {"ip": {"inner": {"V4": 1}}, "port": "80"},
        {"ip": {"inner": {"V4": -1}}, "port": 80},
        {"ip": {"inner": {"V4": 2**32}}, "port": 80},
        {"ip": {"inner": {"V4": 1.5}}, "port": 80},
        {"ip": {"inner": {"V5": 1}}, "port": 80},
        {"ip": {"inner": {"V4": 1, "V6": 1}}, "port": 80},
        {"ip": {"inner": {"V6": 2**128}}, "port": 80},
        {"ip": {"inner": {"V6": ["a"] * 16}}, "port": 80},
        {"ip": {"inner": {"V6": [256] * 16}}, "port": 80},
        {"ip": {"inner": {"V6": {"low": 2**64, "high": 0}}}, "port": 80},
        {"ip": {"inner": {"V6": {"low": 0, "high": -1}}}, "port": 80},
    ],
)
def test_what_is_no_address(address: object) -> None:
    with pytest.raises(ValueError, match="ADD_TCP_FRONTEND: address: "):
        understood("ADD_TCP_FRONTEND", address=address)


@pytest.mark.parametrize(
    ("kind", "body", "told"),
    [
        ("ADD_CLUSTER", {"sticky_session": True}, "sticky_session: found true: not built yet: sticky sessions"),
        ("ADD_CLUSTER", {"health_check": {"uri": "/"}}, "health_check: found a table: not built yet: health checks"),
        ("ADD_CLUSTER", {"load_balancing": 4}, "load_balancing: found HRW: not built yet: consistent hashing"),
        ("ADD_CLUSTER", {"load_balancing": 9}, "load_balancing: found 9; want a number from 0 to 5"),
        ("ADD_CLUSTER", {"load_metric": "x"}, "load_metric: found 'x'; want a number from 0 to 2"),
        ("ADD_CLUSTER", {"load_metric": True}, "load_metric: found true; want a number from 0 to 2"),
        ("ADD_CLUSTER", {"colour": "red"}, "colour: found 'red': not understood"),
        ("ADD_CLUSTER", {"password": "hunter2"}, "password: found (redacted): not understood"),
        ("ADD_CLUSTER", {"a\nb": 1}, "a\\nb: found 1: not understood"),
        ("ADD_HTTP_FRONTEND", {"redirect": 1}, "redirect: found 1: not built yet: redirects"),
        ("ADD_HTTP_LISTENER", {"http_answers": {"a": 1}}, "http_answers: found a table: not built yet: custom answers"),
    ],
)
def test_what_is_lost_is_told(kind: str, body: dict[str, Any], told: str) -> None:
    change, lost = partly(kind, **body)
    assert lost == [f"records[0]: {kind}: {told}"]
    assert not {name.replace("_", "-") for name in body} & change.body.keys()


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ([], "no request of Sōzu's"),
        ({"content": {}}, "no request of Sōzu's"),
        ({"content": {"request_type": {"A": {}, "B": {}}}}, "no request of Sōzu's"),
        (request("ADD_CLUSTER", "api"), "ADD_CLUSTER: found 'api'; want an object"),
        (request("SOFT_STOP", {}), "SOFT_STOP: no part of a saved state"),
        (request("ADD_CERTIFICATE", {}), "ADD_CERTIFICATE: certificate: want an object with certificate and key"),
        (request("ADD_UDP_FRONTEND", {}), "ADD_UDP_FRONTEND: not built yet: UDP"),
        (request("ACTIVATE_LISTENER", {"proxy": 3}), "ACTIVATE_LISTENER: not built yet: udp listeners"),
        (request("ADD_BACKEND", {"load_balancing_parameters": 5}), "found 5; want a weight"),
        (request("ADD_HTTP_FRONTEND", {"path": {"kind": 3, "value": "/"}}), "want a kind from 0 to 2"),
        (request("ADD_HTTP_FRONTEND", {"path": "/"}), "found '/'; want a kind from 0 to 2"),
    ],
)
def test_of_what_nothing_can_be_made(document: object, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        translate(document, "records[0]", Report())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["ip", "inner", "V4", "V6", "port", "kind", "value", "weight"]), inner)
    ),
    max_leaves=8,
)
MEMBERS = [*FRONTEND, *HTTP_LISTENER, "load_balancing", "proxy", "proxy_protocol", "load_balancing_parameters"]
KINDS = [
    "ADD_CLUSTER",
    "ADD_HTTP_LISTENER",
    "ACTIVATE_LISTENER",
    "ADD_HTTP_FRONTEND",
    "ADD_BACKEND",
    "ADD_HTTPS_LISTENER",
]


@settings(max_examples=200, deadline=None)
@given(st.builds(request, st.sampled_from(KINDS), st.dictionaries(st.sampled_from(MEMBERS), JSON) | JSON) | JSON)
def test_hostile_requests(document: object) -> None:
    with suppress(ValueError):
        translate(document, "records[0]", Report())
