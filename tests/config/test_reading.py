"""Bodies of verbs: every fault at its place, and what is not built."""

from typing import Any

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.bodies import BackendRemove, ClusterRemove, HttpFrontendAdd, HttpFrontendRemove
from sozu_trio.config.reading import read_body
from sozu_trio.config.report import Report
from sozu_trio.config.verbs import BODIES

WEB = {"address": "127.0.0.1:80"}
RULE = {**WEB, "hostname": "*"}
BALANCING = "want 'ROUND_ROBIN', 'RANDOM', 'LEAST_LOADED' or 'POWER_OF_TWO'; not built yet: consistent hashing"


def read(verb: str, body: dict[str, Any], where: str = "") -> tuple[Any, list[str], list[str]]:
    report = Report()
    table = read_body(verb, body, report, where)
    return table, [str(each) for each in report.problems], [str(each) for each in report.notices]


def test_bodies_that_are_right() -> None:
    assert read("cluster remove", {"id": "api"}) == (ClusterRemove(id="api"), [], [])
    removal = {"id": "api", "backend-id": "1", "now": True, "deadline": 0}
    assert read("backend remove", removal)[0] == BackendRemove(id="api", backend_id="1", now=True, deadline=0)
    table, problems, _ = read("frontend http add", {**RULE, "deny": True, "tags": "a=b"})
    assert (isinstance(table, HttpFrontendAdd), problems) == (True, [])
    assert read("frontend http remove", RULE)[0] == HttpFrontendRemove(address=Address("127.0.0.1", 80), hostname="*")


@pytest.mark.parametrize("key", ["path-prefix", "path-equals"])
def test_a_path_that_no_request_can_match_is_told(key: str) -> None:
    table, problems, notices = read("frontend http add", {**RULE, "deny": True, key: "v2"}, "changes[3]")
    assert (isinstance(table, HttpFrontendAdd), problems) == (True, [])
    assert notices == [f"changes[3].{key}: no request can match 'v2': a path begins with '/'"]
    assert read("frontend http remove", {**RULE, key: "v2"})[2] == []


def test_all_faults_at_once() -> None:
    body = {"address": "x", "hostname": "", "path-equals": "/?", "method": 1, "tag": "a", "redirect": "permanent"}
    table, problems, _ = read("frontend http add", body, "changes[3]")
    assert table is None
    assert [problem.split(":")[0] for problem in problems] == [
        f"changes[3].{key}" for key in ("address", "hostname", "path-equals", "method", "tag", "redirect", "cluster")
    ]
    assert "changes[3].tag: unknown key; did you mean 'tags'?" in problems


@pytest.mark.parametrize(
    ("verb", "body", "problem"),
    [
        ("cluster remove", {}, "id: missing; want the id of a cluster, such as api"),
        ("cluster remove", {"id": "a", "x": 1}, "x: unknown key; known are id, deadline, drain, drain-timeout"),
        ("cluster remove", {"id": "a", "drain": True, "deadline": 5},
         "deadline: found 5 and drain = true; want only one of both: with drain it is drain-timeout"),
        ("backend remove", {"id": "a", "backend-id": "b", "now": True, "drain": True},
         "drain: found true and now = true; want only one of both"),
        ("backend remove", {"id": "a", "backend-id": "b", "now": True, "drain-timeout": 5},
         "drain-timeout: found 5 without drain = true; want both, or deadline, after which nobody is waited for"),
        ("logging", {}, "filter: missing; want a string"),
        ("backend remove", {"id": "a", "backend-id": "b", "now": True, "deadline": 5},
         "deadline: found 5 and now = true; want only one of both"),
        ("listener deactivate", {"address": "127.0.0.1:80", "drain": True, "deadline": 0},
         "deadline: found 0 and drain = true; want only one of both: with drain it is drain-timeout"),
        ("listener tcp remove", {"address": "127.0.0.1:80", "drain-timeout": 5},
         "drain-timeout: found 5 without drain = true; want both, or deadline, after which nobody is waited for"),
        ("cluster add", {"id": "a", "expect-proxy": True},
         "expect-proxy: found true; want false: it is the listener that expects a header, see 'listener tcp update'"),
        ("frontend http add", RULE, "cluster: missing; want the id of a cluster, or deny = true"),
        ("frontend http add", {**RULE, "cluster": 3}, "cluster: found 3; want the id of a cluster, such as api"),
        ("frontend http add", {**RULE, "deny": True, "cluster": "a"},
         "deny: found true and cluster 'a'; want only one of both"),
        ("frontend http remove", {**RULE, "deny": True, "cluster": "a"},
         "deny: found true and cluster 'a'; want only one of both"),
        ("frontend http remove", {**RULE, "path-prefix": "/", "path-equals": "/", "path-regex": "/"},
         "path-regex: found path-prefix and path-regex and path-equals; want at most one of them"),
        ("listener http update", {**WEB, "public-address": None},
         "public-address: found null; want ip:port, such as 127.0.0.1:8080 or [::1]:8080 (names are not resolved)"),
    ],
)  # fmt: skip
def test_a_fault(verb: str, body: dict[str, Any], problem: str) -> None:
    assert read(verb, body) == (None, [problem], [])


@pytest.mark.parametrize(
    ("verb", "body", "problem"),
    [
        ("cluster add", {"id": "a", "sticky-session": True},
         "sticky-session: found true; want false; not built yet: sticky sessions"),
        ("cluster update", {"id": "a", "load-balancing-policy": "hrw"},
         f"load-balancing-policy: found 'HRW'; {BALANCING}"),
        ("cluster update", {"id": "a", "authorized-hash": ["a:b"]},
         "authorized-hash: found an array; want this key left out; not built yet: authentication"),
        ("cluster add", {"id": "a", "answer": ["503=x"]},
         "answer: found an array; want this key left out; not built yet: custom answers"),
        ("frontend http add", {**RULE, "deny": True, "header": ["request=a=b"]},
         "header: found an array; want this key left out; not built yet: header edits"),
        ("frontend http add", {**RULE, "deny": True, "required-auth": True},
         "required-auth: found true; want false; not built yet: authentication"),
        ("listener update", {**WEB, "answer-503": "/x"},
         "answer-503: found '/x'; want this key left out; not built yet: custom answers"),
        ("listener udp add", {**WEB, "max-flows": 3},
         "verb: found 'listener udp add', which is not built yet: udp listeners"),
        ("listener https add", {**WEB, "disable-http11": True},
         "disable-http11: found true; want false; not built yet: HTTP/2"),
        ("cluster h2 enable", {"id": "a"}, "verb: found 'cluster h2 enable', which is not built yet: HTTP/2"),
    ],
)  # fmt: skip
def test_what_is_not_built(verb: str, body: dict[str, Any], problem: str) -> None:
    assert read(verb, body) == (None, [problem], [])


def test_a_slip_in_what_is_not_built() -> None:
    assert read("listener udp add", {"adress": "x"}, "changes[0]")[1] == [
        "changes[0].adress: unknown key; did you mean 'address'?",
        "changes[0].verb: found 'listener udp add', which is not built yet: udp listeners",
    ]


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("cluster add", {"id": "a", "sticky-session": False, "authorized-hash": [], "answer": [], "retry-after": 0}),
        ("frontend http add", {**RULE, "deny": True, "redirect": "forward", "header": [], "required-auth": False}),
        ("listener http add", {**WEB, "answers": {}, "sticky-name": "any", "h2-max-ping-per-window": 100}),
        ("backend add", {**WEB, "id": "a", "sticky-id": ""}),
    ],
)
def test_what_says_no_more_than_the_default(verb: str, body: dict[str, Any]) -> None:
    table, problems, notices = read(verb, body)
    assert (isinstance(table, BODIES[verb]), problems, notices) == (True, [], [])


@pytest.mark.parametrize(
    ("verb", "body", "notice"),
    [
        ("cluster add", {"id": "a", "protocol": "http", "send-proxy": True},
         "send-proxy: has no effect on an http cluster"),
        ("cluster add", {"id": "a", "protocol": "tcp", "max-idle-connections": 3},
         "max-idle-connections: has no effect on a tcp cluster"),
        ("backend update", {"id": "a", "backend-id": "b", "sticky-id": "c"},
         "sticky-id: has no effect without sticky_session"),
        ("listener http add", {**WEB, "h2-max-ping-per-window": 1},
         "h2-max-ping-per-window: has no effect on an http listener"),
    ],
)  # fmt: skip
def test_a_notice_where_no_client_would_see_it(verb: str, body: dict[str, Any], notice: str) -> None:
    table, problems, notices = read(verb, body)
    assert (isinstance(table, BODIES[verb]), problems, notices) == (True, [], [notice])
