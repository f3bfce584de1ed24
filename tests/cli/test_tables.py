"""Contents as tables, line by line as a person sees them in a pipe."""

from typing import Any

import pytest

from sozu_trio.cli.output import Output

Capture = pytest.CaptureFixture[str]


def shown(verb: str, content: dict[str, Any], capfd: Capture) -> list[str]:
    Output(as_json=False).answer(verb, "message", content)
    first, *lines = capfd.readouterr().out.splitlines()
    assert first == "message"
    return lines


def test_status(capfd: Capture) -> None:
    worker = {"id": 0, "pid": 43, "state": "RUNNING", "generation": 7, "sessions": 12, "sandbox": []}
    main = {"pid": 42, "version": "0.1.0", "generation": 7, "uptime": 200.5, "config": None, "command_socket": "/s"}
    assert shown("status", {"main": main, "workers": [worker]}, capfd) == [
        "main 42  version 0.1.0  generation 7  up 3m 20s  socket /s",
        "WORKER   PID   STATE     GENERATION   SESSIONS",
        "     0    43   RUNNING            7         12",
    ]
    small = {"main": {"pid": 42, "version": "0", "generation": 1}, "workers": [worker | {"sandbox": ["seccomp"]}]}
    assert shown("status", small, capfd)[1].endswith("SANDBOX")


RULE: dict[str, Any] = {
    "protocol": "http",
    "address": "a:1",
    "hostname": "h",
    "path": "/v1",
    "path_type": "PREFIX",
    "method": None,
}
RULE |= {"position": "TREE", "cluster": "api", "tags": {}, "origin": "file"}
BACKEND: dict[str, Any] = {
    "cluster": "api",
    "backend_id": "b",
    "address": "a:2",
    "weight": 100,
    "backup": False,
    "origin": "socket",
}
CLUSTER: dict[str, Any] = {"cluster_id": "api", "protocol": None, "load_balancing": "RANDOM", "origin": "file"}


def test_clusters(capfd: Capture) -> None:
    both = [CLUSTER | {"frontends": [RULE], "backends": [BACKEND, BACKEND]}, CLUSTER | {"cluster_id": "b"}]
    assert shown("cluster list", {"clusters": both}, capfd) == [
        "CLUSTER   PROTOCOL   BALANCING   FRONTENDS   BACKENDS   ORIGIN",
        "api       -          RANDOM              1          2   file",
        "b         -          RANDOM              0          0   file",
    ]


def test_one_cluster_is_shown_in_full(capfd: Capture) -> None:
    lines = shown("cluster list", {"clusters": [CLUSTER | {"frontends": [RULE], "backends": [BACKEND]}]}, capfd)
    assert lines == [
        "cluster id       api",
        "protocol         -",
        "load balancing   RANDOM",
        "origin           file",
        "",
        "PROTOCOL   ADDRESS   HOSTNAME   PATH         POSITION   CLUSTER   ORIGIN",
        "http       a:1       h          prefix /v1   TREE       api       file",
        "",
        "CLUSTER   BACKEND   ADDRESS   WEIGHT   ORIGIN",
        "api       b         a:2          100   socket",
    ]
    assert shown("cluster list", {"clusters": [CLUSTER]}, capfd) == lines[:4]


def test_frontends(capfd: Capture) -> None:
    tcp = {"protocol": "tcp", "address": "a:3", "cluster": "redis", "tags": {"k": "v"}, "origin": "file"}
    denies = RULE | {"cluster": None, "method": "PUT", "path": "", "position": "PRE"}
    assert shown("frontend list", {"frontends": [denies, tcp]}, capfd) == [
        "PROTOCOL   ADDRESS   HOSTNAME   PATH   METHOD   POSITION   CLUSTER   TAGS   ORIGIN",
        "http       a:1       h          any    PUT      PRE        deny      -      file",
        "tcp        a:3       -          -      -        -          redis     k=v    file",
    ]


def test_backends_sum_what_workers_know(capfd: Capture) -> None:
    workers = [
        {"worker": 0, "connections": 2, "requests": 1, "idle": 0, "failures": 0, "retry_in": None},
        {"worker": 1, "connections": 3, "requests": 0, "idle": 4, "failures": 6, "retry_in": 7.5},
    ]
    content = {"backends": [BACKEND | {"workers": workers}, BACKEND | {"backup": True, "workers": []}]}
    assert shown("backend list", content, capfd) == [
        "CLUSTER   BACKEND   ADDRESS   WEIGHT   BACKUP   CONNECTIONS   REQUESTS   IDLE   FAILURES   RETRY IN   ORIGIN",
        "api       b         a:2          100   -                  5          1      4          6         7s   socket",
        "api       b         a:2          100   yes                -          -      -          -          -   socket",
    ]


def test_listeners(capfd: Capture) -> None:
    http = {"protocol": "http", "address": "a:1", "active": True, "public_address": None, "expect_proxy": False}
    http |= {"front_timeout": 60, "back_timeout": 30.0, "connect_timeout": 3, "request_timeout": 0.5, "origin": "file"}
    tcp = {
        "protocol": "tcp",
        "address": "a:2",
        "active": False,
        "expect_proxy": True,
        "origin": "socket",
        "sessions": 0,
    }
    assert shown("listener list", {"listeners": [http | {"sessions": 5}, tcp]}, capfd) == [
        "PROTOCOL   ADDRESS   ACTIVE   SESSIONS   PROXY   TIMEOUTS (FRONT/BACK/CONNECT/REQUEST)   ORIGIN",
        "http       a:1       yes             5   -       60/30/3/0.5                             file",
        "tcp        a:2       no              0   yes     -                                       socket",
    ]


def test_listeners_that_ask_for_certificates(capfd: Capture) -> None:
    both = {"protocol": "https", "active": True, "sessions": 0, "origin": "file", "client_ca": ""}
    rows = [
        {**both, "address": "a:1", "client_auth": "required", "client_ca": "1 authority (0123456789ab)"},
        {**both, "address": "a:2", "client_auth": "none"},
    ]
    assert shown("listener list", {"listeners": rows}, capfd) == [
        "PROTOCOL   ADDRESS   ACTIVE   SESSIONS   CLIENT CERTIFICATES                    ORIGIN",
        "https      a:1       yes             0   required, 1 authority (0123456789ab)   file",
        "https      a:2       yes             0   -                                      file",
    ]


def test_history(capfd: Capture) -> None:
    entry = {
        "generation": 7,
        "time": "2026-01-31T12:00:00Z",
        "uid": 0,
        "pid": 42,
        "process": "python",
        "what": "reload f",
    }
    assert shown("history", {"generations": [entry | {"objects": 3}]}, capfd) == [
        "GENERATION   TIME                   UID   PID   PROCESS   OBJECTS   WHAT",
        "         7   2026-01-31T12:00:00Z     0    42   python          3   reload f",
    ]


def test_sessions(capfd: Capture) -> None:
    session = {"id": "01J", "worker": 0, "listener": "a:1", "client": "192.0.2.7:5", "age": 3.2}
    assert shown("session list", {"sessions": [session]}, capfd) == [
        "SESSION   WORKER   LISTENER   CLIENT        AGE",
        "01J            0   a:1        192.0.2.7:5    3s",
    ]


def test_metrics_that_never_counted_are_counted(capfd: Capture) -> None:
    totals = {"http.requests": 12, "tcp.requests": 0, "bytes_in": 5}
    workers = {"0": {"http.requests": 10, "bytes_in": 5}, "1": {"http.requests": 2}}
    content = {"main": {"configuration.generation": 7}, "workers": workers, "total": totals}
    assert shown("metrics get", content, capfd) == [
        "NAME                       MAIN",
        "configuration.generation      7",
        "",
        "NAME            WORKER 0   WORKER 1   TOTAL",
        "http.requests         10          2      12",
        "bytes_in               5          -       5",
        "",
        "1 counter more: 0 everywhere (--json has them all)",
    ]
    assert shown("metrics get", {"total": {"a": 1}}, capfd) == ["NAME   TOTAL", "a          1"]
    assert shown("metrics get", {"total": {"a": 0}}, capfd) == ["1 counter: 0 everywhere (--json has them all)"]
    only_main = {"main": {"a": 1}, "workers": {"0": {}}, "total": {}}
    assert shown("metrics get", only_main, capfd) == ["NAME   MAIN", "a         1"]
    assert shown("metrics get", {"main": {}, "workers": {"0": {}}, "total": {}}, capfd) == []


@pytest.mark.parametrize(
    ("verb", "name"),
    [
        ("cluster list", "clusters"),
        ("frontend list", "frontends"),
        ("backend list", "backends"),
        ("listener list", "listeners"),
        ("certificate list", "certificates"),
        ("history", "generations"),
        ("session list", "sessions"),
    ],
)
def test_an_empty_list_has_no_table(verb: str, name: str, capfd: Capture) -> None:
    assert shown(verb, {name: []}, capfd) == []


def test_whatever_else(capfd: Capture) -> None:
    content = {"generation": 8, "skipped": ["SAVE-1: unknown", "SAVE-2"], "empty": [], "path": "/x"}
    assert shown("state load", content, capfd) == [
        "generation   8",
        "path         /x",
        "",
        "skipped:",
        "  SAVE-1: unknown",
        "  SAVE-2",
    ]
