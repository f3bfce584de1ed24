"""Changes, alone and many: what is refused, what comes of the others, and that nothing else ever happens."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.report import Report
from sozu_trio.config.structure import keys_of
from sozu_trio.errors import ChangeRefused
from sozu_trio.routing.changes import (
    CHANGE_VERBS,
    HINTS,
    apply,
    apply_all,
    awaited_by,
    drains_of,
    ids_made,
    read_change,
    things_meant,
)
from sozu_trio.routing.drains import Drains
from sozu_trio.routing.state import EMPTY, State
from tests.routing.asked import ASKED, SEQUENCES, STATES, Asked, attempt, carried_out, copied, read

Changed = Callable[..., State]
Refused = Callable[..., list[str]]


def in_order(state: State) -> list[Any]:
    """All that a State says, with the order of its rules."""
    return [state, list(state.http_frontends)]


@pytest.mark.parametrize(
    ("verb", "problem"),
    [
        ("backend ad", "changes[2].verb: found 'backend ad', which is unknown; did you mean 'backend add'?"),
        ("", "changes[2].verb: found '', which is unknown, or none that changes anything"),
        ("status", "changes[2].verb: found 'status', which is unknown, or none that changes anything"),
        ("x" * 100, f"changes[2].verb: found '{'x' * 79}…', which is unknown, or none that changes anything"),
    ],
)
def test_an_unknown_verb(verb: str, problem: str) -> None:
    report = Report()
    assert read_change(verb, {}, report, "changes[2]") is None
    assert [str(each) for each in report.problems] == [problem]


def test_a_change_on_its_own_has_no_place() -> None:
    report = Report()
    assert read_change("backend add", {"id": "a"}, report) is None
    assert report.problems[0].where == "address"
    (change,) = read(("listener activate", {"address": "127.0.0.1:1"}))
    alone = read_change("listener activate", {"address": "127.0.0.1:1"}, Report())
    assert alone is not None
    assert alone.body == change.body
    with pytest.raises(ChangeRefused) as caught:
        apply(EMPTY, alone)
    assert str(caught.value) == "address: found '127.0.0.1:1'; there is no listener"


def test_every_problem_of_every_change_in_order(refused: Refused) -> None:
    assert refused(
        EMPTY,
        ("frontend tcp add", {"id": "a", "address": "127.0.0.1:1"}),
        ("cluster remove", {"id": "b"}),
        ("cluster add", {"id": "c"}),
        ("listener remove", {"address": "127.0.0.1:1"}),
    ) == [
        "changes[0].address: found '127.0.0.1:1'; there is no listener",
        "changes[0].id: found 'a'; there is no such cluster",
        "changes[1].id: found 'b'; there is no such cluster",
        "changes[3].address: found '127.0.0.1:1'; there is no listener",
    ]


def test_what_only_follows_from_another_problem_is_not_told(changed: Changed, refused: Refused) -> None:
    """The second listener would be there, were it not for its two options."""
    state = changed(EMPTY, ("cluster add", {"id": "a"}))
    both = {"address": "127.0.0.1:1", "expect-proxy": True, "public-address": "1.1.1.1:1"}
    assert refused(
        state,
        ("listener http add", both),
        ("listener activate", {"address": "127.0.0.1:1"}),
        ("frontend http add", {"address": "127.0.0.1:1", "hostname": "*", "cluster": "a"}),
        ("listener activate", {"address": "127.0.0.1:2"}),
    ) == [
        "changes[0].expect-proxy: expect-proxy is true and public-address '1.1.1.1:1'; want only one of both",
        "changes[3].address: found '127.0.0.1:2'; there is no listener",
    ]


def test_a_refused_update_hides_nothing(refused: Refused) -> None:
    assert len(refused(EMPTY, ("cluster update", {"id": "a"}), ("cluster remove", {"id": "a"}))) == 2


@pytest.mark.parametrize(
    ("verb", "body", "kinds"),
    [
        ("cluster add", {"id": "a", "address": "127.0.0.1:1"}, {"cluster"}),
        ("backend add", {"id": "a", "backend-id": "b"}, {"backend"}),
        ("listener tcp add", {"address": "127.0.0.1:1"}, {"listener"}),
        ("listener http add", {"address": 7}, set()),
        ("frontend tcp add", {"id": ["a"], "address": "127.0.0.1:1"}, {"tcp frontend"}),
        ("cluster remove", {"id": "a"}, set()),
        ("cluster ad", {"id": "a", "address": "127.0.0.1:1"}, {"cluster", "backend", "listener", "tcp frontend"}),
        (None, {"id": "a", "address": "nowhere"}, {"cluster", "backend"}),
    ],
)
def test_what_a_change_meant_that_cannot_be_read(verb: object, body: dict[str, Any], kinds: set[str]) -> None:
    assert {kind for kind, _ in things_meant(verb, body)} == kinds


def test_what_only_follows_from_a_change_that_cannot_be_read_is_not_told() -> None:
    changes = read(*(("backend add", {"id": each, "address": "127.0.0.1:1"}) for each in "ab"))
    with pytest.raises(ChangeRefused) as caught:
        apply_all(EMPTY, changes, things_meant("cluster add", {"id": "a"}))
    assert [str(each) for each in caught.value.problems] == ["changes[1].id: found 'b'; there is no such cluster"]


def test_near_misses_are_looked_up_for_the_first_problems_only(changed: Changed, refused: Refused) -> None:
    state = changed(EMPTY, ("cluster add", {"id": "api"}))
    problems = refused(state, *[("cluster remove", {"id": "apo"})] * (HINTS + 2))
    assert [problem.endswith("did you mean 'api'?") for problem in problems] == [True] * HINTS + [False] * 2


def test_directives_of_the_log_become_a_setting(changed: Changed) -> None:
    state = changed(EMPTY, ("logging", {"filter": "debug"}))
    assert state.settings.log_level == "debug"
    assert state.settings.timeouts == EMPTY.settings.timeouts


def test_the_limit_of_connections_becomes_a_setting(changed: Changed) -> None:
    state = changed(EMPTY, ("connection-limit set", {"limit": 7}))
    assert state.settings == replace(EMPTY.settings, max_connections_per_ip=7)
    assert changed(state, ("connection-limit remove", {})).settings == EMPTY.settings


def test_nothing_asked() -> None:
    assert apply_all(EMPTY, []) is EMPTY


def test_how_long_listeners_that_drain_may_go_on() -> None:
    changes = read(
        ("listener remove", {"address": "127.0.0.1:1", "drain": True}),
        ("listener http deactivate", {"address": "127.0.0.1:2", "drain": True, "drain-timeout": 2.5}),
        ("listener tcp deactivate", {"address": "127.0.0.1:3", "drain": True, "drain-timeout": 0}),
        ("listener deactivate", {"address": "127.0.0.1:4", "deadline": 5}),
    )
    for timeout, grace in ((30, 30), (0, None)):
        graces = {address.port: grace for (_, address), grace in drains_of(changes, timeout).listeners.items()}
        assert graces == {1: grace, 2: 2.5, 3: None, 4: 5}
    assert {address.port for address in awaited_by(changes).listeners} == {1, 2, 3}


def test_how_long_clusters_and_backends_that_drain_may_go_on() -> None:
    changes = read(
        ("cluster remove", {"id": "a", "drain": True}),
        ("cluster remove", {"id": "b", "drain": True, "drain-timeout": 2.5}),
        ("cluster remove", {"id": "c", "deadline": 5}),
        ("cluster remove", {"id": "d"}),
        ("backend remove", {"id": "a", "backend-id": "1", "drain": True}),
        ("backend remove", {"id": "a", "backend-id": "2", "drain": True, "drain-timeout": 0}),
        ("backend remove", {"id": "a", "backend-id": "3", "deadline": 5}),
    )
    for timeout, grace in ((30, 30), (0, None)):
        drains = drains_of(changes, timeout)
        assert drains.clusters == {"a": grace, "b": 2.5, "c": 5, "d": None}
        assert drains.backends == {("a", "1"): grace, ("a", "2"): None, ("a", "3"): 5}
    awaited = awaited_by(changes)
    assert awaited.clusters == {"a", "b"}
    assert awaited.backends == {("a", "1"), ("a", "2")}
    assert not awaited_by(changes[2:4]).anything


def test_how_long_what_is_removed_may_go_on() -> None:
    changes = read(
        ("listener remove", {"address": "127.0.0.1:1"}),
        ("listener http remove", {"address": "127.0.0.1:2", "deadline": 0}),
        ("listener tcp deactivate", {"address": "127.0.0.1:3", "deadline": 2.5}),
        ("listener activate", {"address": "127.0.0.1:4"}),
        ("backend remove", {"id": "a", "backend-id": "1"}),
        ("backend remove", {"id": "a", "backend-id": "2", "deadline": 5}),
        ("backend remove", {"id": "a", "backend-id": "3", "deadline": 5}),
        ("backend remove", {"id": "a", "backend-id": "3", "now": True}),
    )
    drains = drains_of(changes, 30)
    graces = {str(address): grace for (_, address), grace in drains.listeners.items()}
    assert graces == {"127.0.0.1:1": None, "127.0.0.1:2": 0, "127.0.0.1:3": 2.5}
    assert drains.backends == {("a", "1"): None, ("a", "2"): 5, ("a", "3"): 0}
    assert drains_of([], 30) == Drains(listeners={}, backends={})


@given(STATES, SEQUENCES)
@settings(max_examples=50, deadline=None)
def test_any_sequence_leads_to_a_state_and_leaves_the_one_before(state: State, asked: list[Asked]) -> None:
    before = copied(state)
    carried_out(state, asked)
    assert in_order(state) == in_order(before)


@given(STATES, SEQUENCES)
@settings(max_examples=50, deadline=None)
def test_all_or_none(state: State, asked: list[Asked]) -> None:
    changes = read(*asked)
    whole = attempt(state, changes)
    if isinstance(whole, list):
        assert all(problem.where.startswith("changes[") for problem in whole)
        return
    whole.check()
    for change in changes:
        after = attempt(state, [change])
        if isinstance(after, list):
            return  # it relies on one that comes later
        state = after
    assert in_order(state) == in_order(whole)


INVERSE = {
    "cluster add": ("cluster remove", ["id"]),
    "backend add": ("backend remove", ["id", "backend-id"]),
    "frontend http add": ("frontend http remove", ["address", "hostname", "path-prefix", "method"]),
    "frontend tcp add": ("frontend tcp remove", ["address"]),
    "listener http add": ("listener remove", ["address"]),
    "listener tcp add": ("listener remove", ["address"]),
}


@given(STATES, ASKED.filter(lambda asked: asked[0] in INVERSE))
@settings(max_examples=60, deadline=None)
def test_what_is_added_and_removed_was_never_there(state: State, asked: Asked) -> None:
    verb, body = asked
    inverse, names = INVERSE[verb]
    if verb == "backend add" and "backend-id" not in body:
        body = {**body, "backend-id": "3"}
    removal = (inverse, {name: body[name] for name in names if name in body})
    gone = carried_out(state, [removal])
    added = carried_out(gone, [(verb, body)])
    assert in_order(carried_out(added, [removal])) == in_order(gone)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**63), 2**63),
        st.floats(allow_nan=False),
        st.text(max_size=5),
        st.sampled_from(["127.0.0.1:80", "[::1]:0", "a=b", "GET", "PRE", "random", "/(", "*", "10.0.0.0/8"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def bodies(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    verb = draw(st.sampled_from(sorted(CHANGE_VERBS)))
    known = st.sampled_from([*keys_of(CHANGE_VERBS[verb]), "id"])
    return verb, draw(st.dictionaries(known | st.text(max_size=5), JSON, max_size=6))


@given(bodies())
@settings(max_examples=60, deadline=None)
def test_no_body_is_too_odd(asked: tuple[str, dict[str, Any]]) -> None:
    verb, body = asked
    report = Report()
    change = read_change(verb, body, report, "changes[0]")
    assert (change is None) == bool(report.problems)
    assert all(problem.where.startswith("changes[0]") and str(problem).isprintable() for problem in report.problems)
    if change is not None:
        attempt(EMPTY, [change])


def test_the_id_that_a_backend_gets_is_the_one_that_is_told(changed: Changed) -> None:
    nameless = ("backend add", {"id": "api", "address": "127.0.0.1:1"})
    named = ("backend add", {**nameless[1], "backend-id": "one"})
    state = changed(EMPTY, ("cluster add", {"id": "api"}))
    for asked, backend_id in [(nameless, "api-0-127.0.0.1:1"), (named, "one"), (nameless, "api-1-127.0.0.1:1")]:
        (change,) = read(asked)
        assert ids_made(state, change) == {"backend_id": backend_id}
        state = changed(state, asked)
        assert backend_id in state.backends["api"]
    assert ids_made(state, read(("cluster add", {"id": "api"}))[0]) == {}
