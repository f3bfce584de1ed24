"""Rules and tcp frontends over the socket."""

from collections.abc import Callable
from typing import Any

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import HttpFrontend, PathType, Position, TcpFrontend
from sozu_trio.routing.state import EMPTY, State

Changed = Callable[..., State]
Refused = Callable[..., list[str]]

WEB, MAIL = Address("127.0.0.1", 80), Address("127.0.0.1", 25)
RULE: dict[str, Any] = {"address": "127.0.0.1:80", "hostname": "example.com"}
TO_API = {**RULE, "cluster": "api"}
TCP = {"id": "api", "address": "127.0.0.1:25"}


@pytest.fixture
def state(changed: Changed) -> State:
    return changed(
        EMPTY,
        ("cluster add", {"id": "api"}),
        ("listener http add", {"address": "127.0.0.1:80"}),
        ("listener tcp add", {"address": "127.0.0.1:25"}),
    )


@pytest.mark.parametrize(
    ("path", "path_type", "text"),
    [
        ({}, PathType.PREFIX, ""),
        ({"path-prefix": "/a"}, PathType.PREFIX, "/a"),
        ({"path-equals": "/a"}, PathType.EQUALS, "/a"),
        ({"path-regex": "/[ab]"}, PathType.REGEX, "/[ab]"),
    ],
)
def test_a_rule(changed: Changed, state: State, path: dict[str, str], path_type: PathType, text: str) -> None:
    body = {**TO_API, **path, "method": "GET", "position": "pre", "tags": "owner=web", "max-body-size": 9}
    after = changed(state, ("frontend http add", body))
    assert list(after.http_frontends.values()) == [
        HttpFrontend(
            address=WEB,
            hostname="example.com",
            path=text,
            path_type=path_type,
            method="GET",
            position=Position.PRE,
            cluster_id="api",
            tags={"owner": "web"},
            max_body_size=9,
        )
    ]
    assert changed(after, ("frontend http remove", {**TO_API, **path, "method": "GET"})) == state


def test_a_rule_that_denies(changed: Changed, state: State) -> None:
    after = changed(state, ("frontend http add", {**RULE, "deny": True}))
    assert list(after.http_frontends.values()) == [HttpFrontend(address=WEB, hostname="example.com")]
    assert changed(after, ("frontend http remove", {**RULE, "deny": True})) == state
    assert changed(after, ("frontend http remove", RULE)) == state


def test_a_rule_exists(changed: Changed, refused: Refused, state: State) -> None:
    after = changed(state, ("frontend http add", {**TO_API, "path-equals": "/a", "method": "GET"}))
    after = changed(after, ("frontend http add", {**RULE, "deny": True}))
    assert refused(
        after,
        ("frontend http add", {**RULE, "hostname": "EXAMPLE.com.", "path-equals": "/a", "method": "GET", "deny": True}),
        ("frontend http add", TO_API),
        ("frontend http add", {**RULE, "deny": True}),
    ) == [
        "changes[0]: exists: the rule GET example.com/a (equals) at 127.0.0.1:80 leads to cluster 'api'; "
        "remove it first",
        "changes[1]: exists: the rule example.com at 127.0.0.1:80 denies; remove it first",
        "changes[2]: exists: the rule example.com at 127.0.0.1:80 denies; remove it first",
    ]


def test_a_rule_that_is_not_there_or_leads_elsewhere(changed: Changed, refused: Refused, state: State) -> None:
    after = changed(state, ("frontend http add", {**TO_API, "path-prefix": "/api"}))
    assert refused(
        after,
        ("frontend http remove", {**TO_API, "path-prefix": "/apo"}),
        ("frontend http remove", {**TO_API, "path-equals": "/api", "address": "127.0.0.1:81"}),
        ("frontend http remove", {**RULE, "path-prefix": "/api", "cluster": "web"}),
        ("frontend http remove", {**RULE, "path-prefix": "/api", "deny": True}),
    ) == [
        "changes[0]: there is no rule example.com/apo at 127.0.0.1:80; did you mean 'example.com/api'?",
        "changes[1]: there is no rule example.com/api (equals) at 127.0.0.1:81",
        "changes[2].cluster: found 'web'; the rule example.com/api at 127.0.0.1:80 leads to cluster 'api'",
        "changes[3].deny: found true; the rule example.com/api at 127.0.0.1:80 leads to cluster 'api'",
    ]


def test_a_denying_rule_leads_to_no_cluster(changed: Changed, refused: Refused, state: State) -> None:
    after = changed(state, ("frontend http add", {**RULE, "deny": True}))
    assert refused(after, ("frontend http remove", TO_API)) == [
        "changes[0].cluster: found 'api'; the rule example.com at 127.0.0.1:80 denies"
    ]


def test_a_tcp_frontend(changed: Changed, state: State) -> None:
    after = changed(state, ("frontend tcp add", {**TCP, "tags": {"a": "b"}}))
    assert after.tcp_frontends == {MAIL: TcpFrontend(address=MAIL, cluster_id="api", tags={"a": "b"})}
    assert changed(after, ("frontend tcp remove", TCP)) == state
    assert changed(after, ("frontend tcp remove", {"address": "127.0.0.1:25"})) == state


def test_tcp_frontends_that_are_there_or_not(changed: Changed, refused: Refused, state: State) -> None:
    after = changed(state, ("frontend tcp add", TCP))
    assert refused(
        after,
        ("frontend tcp add", TCP),
        ("frontend tcp remove", {"id": "api", "address": "127.0.0.1:26"}),
        ("frontend tcp remove", {**TCP, "id": "web"}),
    ) == [
        "changes[0].address: exists: 127.0.0.1:25 leads to cluster 'api'; remove it first",
        "changes[1].address: found '127.0.0.1:26', which leads nowhere; want the address of a tcp frontend; "
        "did you mean '127.0.0.1:25'?",
        "changes[2].id: found 'web'; 127.0.0.1:25 leads to cluster 'api'",
    ]


def test_new_rules_come_last(changed: Changed, state: State) -> None:
    def rule(path: str) -> tuple[str, dict[str, Any]]:
        return "frontend http add", {**TO_API, "path-prefix": path, "position": "PRE"}

    after = changed(changed(state, rule("/b"), rule("/c")), rule("/a"))
    gone = ("frontend http remove", {**TO_API, "path-prefix": "/b"})
    assert [each.path for each in after.http_frontends.values()] == ["/b", "/c", "/a"]
    assert [each.path for each in changed(after, gone, rule("/b")).http_frontends.values()] == ["/c", "/a", "/b"]
