"""What is said of rules that do not take a request, held against the Table that decides."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import HttpFrontend, PathType, Position
from sozu_trio.config.listeners import HttpListener
from sozu_trio.routing.compile import compile_table
from sozu_trio.routing.explain import Asked, losers, mismatch
from sozu_trio.routing.state import declare

ADDRESS = Address("127.0.0.1", 80)
ASKED = Asked(host=b"a.example", path=b"/v1/x", method=b"GET")
RULE = HttpFrontend(address=ADDRESS, hostname="a.example", path="/v1")


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        (RULE, None),
        (replace(RULE, hostname="*"), None),
        (replace(RULE, method="GET"), None),
        (replace(RULE, hostname="b.example"), "its host b.example does not match 'a.example'"),
        (replace(RULE, path="/v2"), "its prefix '/v2' does not match '/v1/x'"),
        (replace(RULE, path_type=PathType.EQUALS), "its exact path '/v1' does not match '/v1/x'"),
        (
            replace(RULE, path_type=PathType.REGEX, path="/v[2-9].*"),
            "its regex '/v[2-9].*' does not match '/v1/x'",
        ),
        (replace(RULE, path_type=PathType.REGEX, path="/v[1-9].*"), None),
        (replace(RULE, method="POST"), "it takes POST only, not 'GET'"),
    ],
)
def test_what_does_not_match(rule: HttpFrontend, why: str | None) -> None:
    assert mismatch(rule, ASKED) == why


@pytest.mark.parametrize(
    ("winner", "loser", "why"),
    [
        (replace(RULE, position=Position.PRE, path="/"), RULE, "a rule of position PRE goes before one of TREE"),
        (RULE, replace(RULE, hostname="*.example"), "host a.example is more specific than *.example"),
        (
            replace(RULE, path_type=PathType.EQUALS, path="/v1/x"),
            RULE,
            "an exact path goes before a prefix",
        ),
        (RULE, replace(RULE, path="/"), "prefix '/v1' is longer than '/'"),
        (replace(RULE, method="GET"), RULE, "a rule for GET goes before one for any method"),
        (
            replace(RULE, position=Position.POST),
            replace(RULE, position=Position.POST, path="/v1/x"),
            "rules of position POST are tried as declared, and the one that won came first",
        ),
        (
            replace(RULE, path_type=PathType.REGEX, path="/v1.*"),
            replace(RULE, path_type=PathType.REGEX, path="/.*"),
            "of two regexes the one declared first goes first",
        ),
    ],
)
def test_what_matches_and_loses(winner: HttpFrontend, loser: HttpFrontend, why: str) -> None:
    state = declare([HttpListener(address=ADDRESS)], [], [winner, loser], [], [])
    routes = compile_table(state, 1).http[ADDRESS]
    assert routes.find(ASKED.host, ASKED.path, ASKED.method).frontend == winner
    assert [(each.frontend, each.why) for each in losers([winner, loser], winner, ASKED)] == [(loser, why)]


def test_rules_for_other_hosts_are_not_told() -> None:
    assert list(losers([replace(RULE, hostname="other")], RULE, ASKED)) == []


RULES = st.builds(
    HttpFrontend,
    address=st.just(ADDRESS),
    hostname=st.sampled_from(["a.example", "*.example", "*", "/a+/.example", "b"]),
    path=st.sampled_from(["", "/", "/v1", "/v1/x", "/v2"]),
    path_type=st.sampled_from(list(PathType)),
    method=st.sampled_from([None, "GET", "POST"]),
    position=st.sampled_from(list(Position)),
)


@given(st.lists(RULES, max_size=6, unique_by=lambda rule: (rule.hostname, rule.path, rule.path_type, rule.method)))
def test_the_winner_matches_and_without_one_nothing_does(rules: list[HttpFrontend]) -> None:
    state = declare([HttpListener(address=ADDRESS)], [], rules, [], [])
    winner = compile_table(state, 1).http[ADDRESS].find(ASKED.host, ASKED.path, ASKED.method).frontend
    if winner is None:
        assert all(mismatch(rule, ASKED) for rule in rules)
    else:
        assert mismatch(winner, ASKED) is None
    assert all(each.why for each in losers(rules, winner, ASKED))
