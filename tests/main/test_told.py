"""What a change of State is told as."""

from dataclasses import replace

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend, PathType, Position, TcpFrontend
from sozu_trio.config.listeners import HttpListener
from sozu_trio.config.program import Settings
from sozu_trio.main.events import Event
from sozu_trio.main.told import events_of
from sozu_trio.routing.delta import diff
from sozu_trio.routing.state import EMPTY, State, declare

ADDRESS, TCP = Address("127.0.0.1", 80), Address("127.0.0.1", 81)
LISTENER = HttpListener(address=ADDRESS, active=False)
CLUSTER = Cluster(cluster_id="a")
RULE = HttpFrontend(address=ADDRESS, hostname="a.example", cluster_id="a")
RELAY = TcpFrontend(address=TCP, cluster_id="a")
BACKEND = Backend(cluster_id="a", backend_id="b", address=ADDRESS)
POST = replace(RULE, path="/v1", path_type=PathType.EQUALS, method="POST")


def state(*rules: HttpFrontend, **changed: object) -> State:
    """A bit of everything, with these rules."""
    has: dict[str, object] = {"listener": LISTENER, "cluster": CLUSTER, "relay": RELAY, "level": "debug", **changed}
    settings = Settings(log_level=str(has["level"]))
    return declare([has["listener"]], [has["cluster"]], rules, [has["relay"]], [BACKEND], settings)  # type: ignore[list-item]


def told(before: State, after: State) -> list[Event]:
    return events_of(before, diff(before, after))


def kinds(before: State, after: State) -> list[str]:
    return [event.kind for event in told(before, after)]


def rule_event(what: str, details: str, cluster_id: str | None = "a") -> Event:
    return Event(kind=f"FRONTEND_{what}", cluster_id=cluster_id, address=ADDRESS, details=details)


def test_everything_new() -> None:
    assert kinds(EMPTY, state(RULE)) == [
        *("LISTENER_ADDED", "CLUSTER_ADDED", "FRONTEND_ADDED", "FRONTEND_ADDED"),
        "LOGGING_LEVEL_CHANGED",
    ]


def test_everything_gone() -> None:
    assert kinds(state(RULE), EMPTY) == [
        *("LISTENER_REMOVED", "CLUSTER_REMOVED", "FRONTEND_REMOVED", "FRONTEND_REMOVED", "LOGGING_LEVEL_CHANGED")
    ]


def test_nothing() -> None:
    assert told(state(RULE), state(RULE)) == []


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"listener": replace(LISTENER, active=True)}, ["LISTENER_ACTIVATED"]),
        ({"listener": replace(LISTENER, via="x")}, ["LISTENER_UPDATED"]),
        ({"listener": replace(LISTENER, via="x", active=True)}, ["LISTENER_UPDATED", "LISTENER_ACTIVATED"]),
        ({"cluster": replace(CLUSTER, protocol="http")}, ["CLUSTER_UPDATED"]),
        ({"relay": replace(RELAY, tags={"a": "b"})}, ["FRONTEND_UPDATED"]),
        ({"level": "info"}, ["LOGGING_LEVEL_CHANGED"]),
    ],
)
def test_what_was_there_is_updated(changed: dict[str, object], expected: list[str]) -> None:
    assert kinds(state(RULE), state(RULE, **changed)) == expected


def test_a_new_listener_may_be_active() -> None:
    active = replace(LISTENER, active=True)
    before = replace(state(), listeners={})
    assert kinds(before, state(listener=active)) == ["LISTENER_ADDED", "LISTENER_ACTIVATED"]
    assert kinds(state(listener=active), state()) == ["LISTENER_DEACTIVATED"]


def test_rules_of_one_host_are_told_apart() -> None:
    assert told(state(RULE, POST), state(RULE)) == [rule_event("REMOVED", "POST a.example/v1 (equals)")]
    assert told(state(RULE), state(replace(POST, cluster_id=None))) == [
        rule_event("REMOVED", "a.example"),
        rule_event("ADDED", "POST a.example/v1 (equals)", None),
    ]


def test_a_rule_that_leads_elsewhere_is_updated() -> None:
    assert told(state(RULE, POST), state(RULE, replace(POST, cluster_id=None))) == [
        rule_event("UPDATED", "POST a.example/v1 (equals)", None)
    ]


def test_rules_that_only_make_room_are_not_told() -> None:
    first, second = (replace(RULE, path=path, position=Position.PRE) for path in ("/1", "/2"))
    assert told(state(second), state(first, second)) == [rule_event("ADDED", "a.example/1")]
    assert told(state(first, second), state(replace(second, cluster_id=None), first)) == [
        rule_event("UPDATED", "a.example/2", None)
    ]
