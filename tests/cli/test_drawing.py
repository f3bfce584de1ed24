"""Tree, plan, explain and events as a person sees them."""

from typing import Any

import pytest

from sozu_trio.cli.drawing import event
from sozu_trio.cli.output import Output

Capture = pytest.CaptureFixture[str]


def shown(verb: str, content: dict[str, Any], capfd: Capture) -> list[str]:
    Output(as_json=False).answer(verb, "message", content)
    first, *lines = capfd.readouterr().out.splitlines()
    assert first == "message"
    return lines


def test_the_tree(capfd: Capture) -> None:
    session = {"name": "session 01J", "kind": "session", "age": 3.5, "children": []}
    listener = {"name": "listener a:1", "kind": "listener", "age": 200, "count": 1234, "children": [session]}
    worker = {"name": "worker 0", "kind": "process", "age": 200, "children": [listener]}
    main = {"name": "main", "kind": "process", "age": 201, "children": [{"name": "no journal", "kind": "service"}]}
    assert shown("tree", {"main": main, "workers": [worker]}, capfd) == [
        "main  3m 21s",
        "├── no journal",
        "└── worker 0  3m 20s",
        "    └── listener a:1  1,234  3m 20s",
        "        └── session 01J  3s",
    ]


PLAN = {
    "generation": 7,
    "difference": True,
    "changes": [
        {"action": "remove", "kind": "backend", "name": "api/b", "fields": {}},
        {
            "action": "add",
            "kind": "cluster",
            "name": "web",
            "fields": {"cluster_id": [None, "web"], "send_proxy": [None, False]},
        },
        {"action": "change", "kind": "cluster", "name": "api", "fields": {"weight": [50, 100], "via": ["", "x"]}},
        {"action": "move", "kind": "frontend", "name": "h/a at a:1", "fields": {"after": [None, "h/b"]}},
        {"action": "move", "kind": "frontend", "name": "h/c at a:1", "fields": {"after": ["h/b", None]}},
    ],
    "notices": ["worker_count: waits for a start"],
}


def test_a_plan(capfd: Capture) -> None:
    assert shown("plan", PLAN, capfd) == [
        "- backend api/b",
        "+ cluster web",
        "    cluster_id: web",
        "~ cluster api",
        "    weight: 50 → 100",
        "    via: - → x",
        "↕ frontend h/a at a:1",
        "    after h/b",
        "↕ frontend h/c at a:1",
        "    before all others",
        "note: worker_count: waits for a start",
    ]


def test_no_difference(capfd: Capture) -> None:
    assert shown("plan", {"generation": 7, "difference": False, "changes": []}, capfd) == []


def test_a_reload(capfd: Capture) -> None:
    content = {"generation": 8, "added": ["cluster web"], "changed": ["cluster api"], "removed": ["backend a/b"]}
    content["moved"] = ["frontend h/a at a:1"]
    assert shown("reload", content | {"notices": ["x"]}, capfd) == [
        "- backend a/b",
        "+ cluster web",
        "~ cluster api",
        "↕ frontend h/a at a:1",
        "note: x",
        "generation 8",
    ]


RULE = {"hostname": "api.example", "path": "/v1", "path_type": "PREFIX", "method": None, "cluster": "api"}
BACKENDS = [
    {"backend_id": "b1", "address": "a:2", "weight": 100, "backup": False, "candidate": True, "why": ""},
    {"backend_id": "b2", "address": "a:3", "weight": 1, "backup": True, "candidate": False, "why": "a backup"},
]
EXPLAINED: dict[str, Any] = {
    "listener": {"protocol": "http", "address": "a:1", "active": True},
    "outcome": "forward",
    "rule": RULE,
    "cluster": "api",
    "backends": BACKENDS,
    "lost": [{"rule": RULE | {"path": "", "cluster": None}, "why": "prefix '/v1' is longer than ''"}],
}


def test_the_way_of_a_request(capfd: Capture) -> None:
    assert shown("explain", EXPLAINED, capfd) == [
        "listener  http a:1",
        "rule      api.example/v1 → api",
        "cluster   api",
        "",
        "    BACKEND   ADDRESS   WEIGHT   BACKUP   WHY NOT",
        "✓   b1        a:2          100   -        -",
        "✗   b2        a:3            1   yes      a backup",
        "",
        "rules that lost:",
        "  api.example → deny",
        "      prefix '/v1' is longer than ''",
    ]


def test_ways_that_end_early(capfd: Capture) -> None:
    nowhere: dict[str, Any] = {
        "listener": None,
        "outcome": "no listener",
        "rule": None,
        "cluster": None,
        "backends": [],
        "lost": [],
    }
    assert shown("explain", nowhere, capfd) == []
    idle = EXPLAINED | {"listener": {"protocol": "tcp", "address": "a:1", "active": False}, "rule": None, "lost": []}
    assert shown("explain", idle | {"backends": []}, capfd) == [
        "listener  tcp a:1  (not active)",
        "cluster   api",
        "backends  none: it would be answered 503",
    ]
    unmatched = EXPLAINED | {"rule": None, "cluster": None, "backends": [], "lost": []}
    assert shown("explain", unmatched, capfd) == ["listener  http a:1"]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ({"kind": "EVENTS_SUBSCRIBED"}, "EVENTS_SUBSCRIBED"),
        ({"kind": "X", "time": "T", "cluster_id": "a b", "address": "\x1b"}, "T  X  cluster_id=a b  address=\\x1b"),
        ({}, ""),
    ],
)
def test_events(content: dict[str, Any], line: str) -> None:
    assert event(content) == line
