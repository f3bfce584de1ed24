"""https_redirect: who is sent where."""

import pytest
from hypothesis import given

from sozu_trio.config.addresses import Address
from sozu_trio.routing.compile import compile_table, recompile
from sozu_trio.routing.decisions import Decision
from sozu_trio.routing.delta import diff
from sozu_trio.routing.redirects import Redirect
from sozu_trio.routing.slices import finish
from sozu_trio.routing.state import EMPTY, State
from sozu_trio.routing.table import Outcome, Table
from tests.routing.asked import STATES, Asked, carried_out

PLAIN, SECURE = "127.0.0.1:1", "127.0.0.1:3"
WORLD: list[Asked] = [
    ("listener http add", {"address": PLAIN}),
    ("listener https add", {"address": SECURE}),
    ("cluster add", {"id": "web", "https-redirect": True, "https-redirect-port": 8443}),
    ("frontend http add", {"address": PLAIN, "hostname": "*", "cluster": "web"}),
    ("frontend http add", {"address": PLAIN, "hostname": "*", "path-prefix": "/no", "deny": True}),
    ("frontend http add", {"address": PLAIN, "hostname": "pre.example", "cluster": "web", "position": "PRE"}),
    ("frontend https add", {"address": SECURE, "hostname": "*", "cluster": "web"}),
]


@pytest.mark.parametrize(
    ("port", "host", "target", "location"),
    [
        (None, b"a.example", b"/x?y=1", b"https://a.example/x?y=1"),
        (443, b"a.example", b"/", b"https://a.example/"),
        (8443, b"[::1]", b"/x", b"https://[::1]:8443/x"),
        (None, b"a.example", b"*", b"https://a.example/"),
    ],
)
def test_location(port: int | None, host: bytes, target: bytes, location: bytes) -> None:
    assert Redirect(port).location(host, target) == location


def find(table: Table, address: str, path: bytes = b"/", host: bytes = b"a.example") -> Decision:
    return table.http[Address("127.0.0.1", int(address[-1]))].find(host, path, b"GET")


def test_who_comes_over_plain_http_is_redirected() -> None:
    table = compile_table(carried_out(EMPTY, WORLD), 1)
    plain = find(table, PLAIN)
    assert (plain.outcome, plain.redirect, plain.cluster) == (Outcome.REDIRECT, Redirect(8443), None)
    assert plain.frontend is not None
    assert find(table, PLAIN, host=b"pre.example").redirect == Redirect(8443)
    assert find(table, PLAIN, b"/no").outcome is Outcome.DENY
    secure = find(table, SECURE)
    assert (secure.outcome, secure.redirect) == (Outcome.FORWARD, None)
    assert secure.cluster is not None


def follow(before: State, *asked: Asked) -> tuple[State, Table]:
    """What comes of a change, compiled from the Table of before."""
    after = carried_out(before, list(asked))
    return after, finish(recompile(compile_table(before, 1), after, diff(before, after), 2))


def test_a_change_of_the_cluster_is_followed() -> None:
    state = carried_out(EMPTY, WORLD)
    state, table = follow(state, ("cluster update", {"id": "web", "https-redirect-port": 9}))
    assert find(table, PLAIN).redirect == Redirect(9)
    state, table = follow(state, ("cluster update", {"id": "web", "https-redirect": False}))
    assert find(table, PLAIN).outcome is find(table, PLAIN, host=b"pre.example").outcome is Outcome.FORWARD
    _, table = follow(state, ("cluster update", {"id": "web", "https-redirect": True}))
    assert find(table, PLAIN).outcome is Outcome.REDIRECT


def test_a_listener_of_another_kind_in_the_same_place() -> None:
    before = carried_out(EMPTY, WORLD)
    after = carried_out(before, [("listener remove", {"address": PLAIN}), ("listener https add", {"address": PLAIN})])
    table = finish(recompile(compile_table(before, 1), after, diff(before, after), 2))
    assert find(table, PLAIN).outcome is Outcome.FORWARD
    back = finish(recompile(table, before, diff(after, before), 3))
    assert find(back, PLAIN).outcome is Outcome.REDIRECT


@given(STATES, STATES)
def test_recompiled_is_as_compiled(before: State, after: State) -> None:
    table = finish(recompile(compile_table(before, 1), after, diff(before, after), 2))
    anew = compile_table(after, 2)
    assert table.certificates == anew.certificates
    assert table.http.keys() == anew.http.keys()
    for address, routes in anew.http.items():
        for host, path in ((b"x.example", b"/p"), (b"r.example", b"/"), (b"y.example", b"/")):
            assert table.http[address].find(host, path, b"GET") == routes.find(host, path, b"GET")
