"""What a change touches at an address: hosts with all rules they have now, in the order of declaration, no others."""

from dataclasses import replace

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend, Position
from sozu_trio.config.listeners import HttpListener
from sozu_trio.routing.amended import Change, find_amended
from sozu_trio.routing.compile import compile_table
from sozu_trio.routing.delta import NOTHING, Delta, amend
from sozu_trio.routing.http_routes import Amended
from sozu_trio.routing.slices import BATCH, Pace, finish
from sozu_trio.routing.state import State, declare, frontend_key

WEB, OTHER = Address("127.0.0.1", 80), Address("127.0.0.1", 81)


def rule(
    hostname: str,
    path: str = "",
    *,
    address: Address = WEB,
    cluster: str | None = "c",
    position: Position = Position.TREE,
) -> HttpFrontend:
    return HttpFrontend(address=address, hostname=hostname, path=path, cluster_id=cluster, position=position)


PRE = rule("pre.example", position=Position.PRE)
POST = rule("post.example", position=Position.POST)
A1, A2, B = rule("a.example", "/1"), rule("a.example", "/2"), rule("b.example", cluster="d")
REGEX, REGEX_2 = rule("/r/.example"), rule("/s/.example")
ELSEWHERE = rule("a.example", address=OTHER)
ALL = [PRE, A1, REGEX, B, POST, REGEX_2, A2, ELSEWHERE]


def state_of(*frontends: HttpFrontend) -> State:
    return declare(
        [HttpListener(address=WEB), HttpListener(address=OTHER)],
        [Cluster(cluster_id="c"), Cluster(cluster_id="d")],
        frontends,
        [],
        [Backend(cluster_id="c", backend_id="1", address=Address("127.0.0.1", 9))],
    )


STATE = state_of(*ALL)
TABLE = compile_table(STATE, 1)


def amended(delta: Delta, changed: frozenset[str] = frozenset()) -> dict[Address, Amended]:
    change = Change(amend(STATE, delta), delta, TABLE.clusters, changed)
    return finish(find_amended(TABLE.http, frozenset(), change, Pace()))


def test_nothing_is_touched_by_nothing() -> None:
    assert amended(NOTHING) == {}
    assert amended(NOTHING, frozenset({"not led to"})) == {}


def test_a_rule_that_comes_brings_all_of_its_host_as_declared() -> None:
    new = rule("a.example", "/new")
    assert amended(Delta(http_frontends=(new,))) == {WEB: Amended(hosts={"a.example": [A1, A2, new]})}


def test_a_rule_that_is_another_stays_in_its_place() -> None:
    other = replace(A1, cluster_id="d")
    assert amended(Delta(http_frontends=(other,))) == {WEB: Amended(hosts={"a.example": [other, A2]})}


def test_a_rule_that_goes_leaves_the_others_of_its_host() -> None:
    gone = Delta(gone_http_frontends=(frontend_key(A1),))
    assert amended(gone) == {WEB: Amended(hosts={"a.example": [A2]})}
    assert amended(replace(gone, gone_http_frontends=(frontend_key(B),))) == {WEB: Amended(hosts={"b.example": []})}


def test_other_addresses_are_left_alone() -> None:
    assert amended(Delta(http_frontends=(replace(ELSEWHERE, cluster_id="d"),))).keys() == {OTHER}
    nowhere = replace(A1, address=Address("127.0.0.1", 1))
    assert amended(Delta(http_frontends=(nowhere,))) == {}


def test_patterns_come_in_full_where_one_of_them_is_touched() -> None:
    gone = Delta(gone_http_frontends=(frontend_key(REGEX),))
    assert amended(gone) == {WEB: Amended(hosts={"/r/.example": []}, patterns={"/s/.example": None})}
    put = amended(Delta(http_frontends=(replace(REGEX_2, cluster_id=None),)))
    assert list(put[WEB].patterns) == ["/r/.example", "/s/.example"], "in the order of declaration"


@pytest.mark.parametrize("touched", [PRE, POST])
def test_a_position_that_is_touched_comes_in_full(touched: HttpFrontend) -> None:
    position = touched.position
    other = rule("pre2.example", position=position)
    found = amended(Delta(http_frontends=(other,)))[WEB]
    assert found.ordered == {position: {frontend_key(each): each for each in (touched, other)}}
    found = amended(Delta(gone_http_frontends=(frontend_key(touched),)))[WEB]
    assert found.ordered == {position: {}}


@pytest.mark.parametrize(
    ("before", "after", "touched"),
    [
        (PRE, Position.TREE, {Position.PRE}),
        (PRE, Position.POST, {Position.PRE, Position.POST}),
        (A1, Position.POST, {Position.POST}),
    ],
)
def test_a_rule_that_moves_touches_where_it_was_and_where_it_is(
    before: HttpFrontend, after: Position, touched: set[Position]
) -> None:
    moved = replace(before, position=after)
    found = amended(Delta(http_frontends=(moved,)))[WEB]
    assert found.ordered.keys() == touched
    assert (moved in found.hosts[before.hostname]) is (after is Position.TREE)
    assert before not in found.hosts[before.hostname]
    for position, rules in found.ordered.items():
        assert (moved in rules.values()) is (position is after)


def test_a_cluster_that_changed_touches_every_host_that_leads_to_it() -> None:
    assert amended(NOTHING, frozenset({"d"})) == {WEB: Amended(hosts={"b.example": [B]})}
    found = amended(NOTHING, frozenset({"c"}))
    assert found.keys() == {WEB, OTHER}
    assert found[WEB].hosts == {
        "pre.example": [],
        "a.example": [A1, A2],
        "/r/.example": [REGEX],
        "post.example": [],
        "/s/.example": [REGEX_2],
    }
    assert found[WEB].ordered == {
        Position.PRE: {frontend_key(PRE): PRE},
        Position.POST: {frontend_key(POST): POST},
    }
    assert found[OTHER] == Amended(hosts={"a.example": [ELSEWHERE]})


def test_an_address_that_is_new_has_everything() -> None:
    change = Change(STATE, NOTHING, TABLE.clusters, frozenset())
    routes = {OTHER: TABLE.http[OTHER]}
    found = finish(find_amended(routes, {WEB}, change, Pace()))
    assert found == {
        WEB: Amended(
            hosts={"a.example": [A1, A2], "/r/.example": [REGEX], "b.example": [B], "/s/.example": [REGEX_2]},
            patterns={"/r/.example": None, "/s/.example": None},
            ordered={Position.PRE: {frontend_key(PRE): PRE}, Position.POST: {frontend_key(POST): POST}},
        )
    }
    assert finish(find_amended({}, {Address("::1", 1)}, change, Pace())) == {
        Address("::1", 1): Amended(ordered={Position.PRE: {}, Position.POST: {}})
    }


def test_of_many_rules_none_is_missed_where_a_batch_ends() -> None:
    state = state_of(*[rule("a.example", f"/{number}") for number in range(2 * BATCH + 1)])
    new = rule("a.example", "/new")
    delta = Delta(http_frontends=(new,))
    change = Change(amend(state, delta), delta, TABLE.clusters, frozenset())
    found = finish(find_amended(compile_table(state, 1).http, frozenset(), change, Pace()))
    assert found[WEB].hosts["a.example"] == [*state.http_frontends.values(), new]
