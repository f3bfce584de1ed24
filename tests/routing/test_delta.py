"""The difference of two States, and what it makes of the first."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend, PathType, Position, TcpFrontend
from sozu_trio.config.listeners import HttpListener, TcpListener
from sozu_trio.config.program import Settings
from sozu_trio.routing.delta import NOTHING, Delta, amend, diff, is_ordered
from sozu_trio.routing.state import EMPTY, FrontendKey, State, declare, frontend_key, with_declared
from tests.routing.asked import SEQUENCES, STATES, Asked, carried_out, copied

WEB, MAIL = Address("127.0.0.1", 80), Address("127.0.0.1", 25)
CLUSTER = Cluster(cluster_id="web")
ONE = Backend(cluster_id="web", backend_id="1", address=WEB)
FULL = declare(
    [HttpListener(address=WEB), TcpListener(address=MAIL)],
    [CLUSTER],
    [HttpFrontend(address=WEB, hostname="example.com", cluster_id="web")],
    [TcpFrontend(address=MAIL, cluster_id="web")],
    [ONE, replace(ONE, backend_id="2")],
    Settings(log_level="debug"),
)


def ordered(state: State) -> list[FrontendKey]:
    return [key for key, frontend in state.http_frontends.items() if is_ordered(frontend)]


def rules(paths: str) -> State:
    """A State whose rules are tried in this order: one letter each."""
    return declare([], [], [rule(path) for path in paths], [], [])


def rule(path: str) -> HttpFrontend:
    return HttpFrontend(address=WEB, hostname="*", path=path, position=Position.PRE)


def test_everything_and_nothing() -> None:
    delta = diff(EMPTY, FULL)
    assert len(delta) == 7
    assert delta.settings == FULL.settings
    assert amend(EMPTY, delta) == FULL
    assert diff(FULL, EMPTY) == Delta(
        gone_listeners=(("tcp", WEB), ("tcp", MAIL)),
        gone_clusters=("web",),
        gone_http_frontends=(frontend_key(next(iter(FULL.http_frontends.values()))),),
        gone_tcp_frontends=(MAIL,),
        gone_backends=(("web", "1"), ("web", "2")),
        settings=Settings(),
    )
    assert amend(FULL, diff(FULL, EMPTY)) == EMPTY


def test_no_difference() -> None:
    assert diff(FULL, FULL) == NOTHING
    assert diff(FULL, copied(FULL)) == NOTHING
    assert not NOTHING
    assert (len(NOTHING), bool(Delta(settings=Settings()))) == (0, True)
    assert amend(FULL, NOTHING) == FULL


def test_only_what_changed_is_in_it() -> None:
    other = replace(ONE, weight=1)
    after = replace(FULL, backends={"web": {**FULL.backends["web"], "1": other}})
    assert diff(FULL, after) == Delta(backends=(other,))
    assert list(amend(FULL, Delta(backends=(other,))).backends["web"]) == ["1", "2"], "it keeps its place"


def test_what_is_not_touched_stays_the_same_object() -> None:
    amended = amend(FULL, Delta(clusters=(Cluster(cluster_id="mail"),)))
    assert amended.listeners is FULL.listeners
    assert amended.backends is FULL.backends
    assert list(amended.clusters) == ["web", "mail"]
    assert list(FULL.clusters) == ["web"]


def test_deltas_add_up() -> None:
    first, last = Delta(clusters=(Cluster(cluster_id="mail"),)), Delta(gone_clusters=("web", "mail"))
    assert amend(FULL, first, last) == amend(amend(FULL, first), last)
    assert amend(FULL, first, last).clusters == {}


def test_the_last_backend_takes_its_cluster_along() -> None:
    amended = amend(FULL, Delta(gone_backends=(("web", "1"), ("web", "2"))))
    assert amended.backends == {}
    amended.check()


@pytest.mark.parametrize(
    "gone",
    [
        Delta(gone_clusters=("x",)),
        Delta(gone_listeners=(("udp", WEB),)),
        Delta(gone_backends=(("web", "3"),)),
        Delta(gone_backends=(("x", "1"),)),
        Delta(gone_tcp_frontends=(WEB,)),
        Delta(gone_http_frontends=(FrontendKey(WEB, "x", PathType.PREFIX, "", None),)),
    ],
)
def test_what_never_was_cannot_go(gone: Delta) -> None:
    with pytest.raises(KeyError):
        amend(FULL, gone)


def test_settings_stay_unless_told() -> None:
    assert amend(FULL, Delta(gone_clusters=("web",))).settings == FULL.settings
    assert amend(FULL, Delta(settings=Settings())).settings == Settings()


@pytest.mark.parametrize(
    ("frontend", "order_matters"),
    [
        (rule("/"), True),
        (replace(rule("/"), position=Position.POST), True),
        (replace(rule("/"), position=Position.TREE), False),
        (replace(rule("/"), position=Position.TREE, path_type=PathType.EQUALS), False),
        (replace(rule("/"), position=Position.TREE, path_type=PathType.REGEX), True),
        (replace(rule("/"), position=Position.TREE, hostname="*.example.com"), False),
        (replace(rule("/"), position=Position.TREE, hostname="/r/.example.com"), True),
    ],
)
def test_rules_whose_order_is_their_meaning(frontend: HttpFrontend, order_matters: bool) -> None:
    assert is_ordered(frontend) is order_matters


@pytest.mark.parametrize(
    ("before", "after", "put"),
    [
        ("abc", "abc", ""),
        ("abc", "abcd", "d"),
        ("abc", "ac", ""),
        ("abc", "acb", "b"),
        ("abc", "cab", "ab"),
        ("abc", "dabc", "dabc"),
        ("abc", "abdc", "dc"),
    ],
)
def test_no_more_rules_move_than_must(before: str, after: str, put: str) -> None:
    delta = diff(rules(before), rules(after))
    assert "".join(each.path for each in delta.http_frontends) == put
    assert list(amend(rules(before), delta).http_frontends) == list(rules(after).http_frontends)


def test_a_rule_that_changes_and_stays_is_replaced_in_place() -> None:
    before, changed = rules("abc"), replace(rule("b"), cluster_id="x")
    after = declare([], [], [rule("a"), changed, rule("c")], [], [])
    assert diff(before, after) == Delta(http_frontends=(changed,))
    assert list(amend(before, diff(before, after)).http_frontends.values()) == [rule("a"), changed, rule("c")]


def test_the_order_of_other_rules_is_no_difference() -> None:
    tree = [replace(rule(path), position=Position.TREE) for path in "ab"]
    assert diff(declare([], [], tree, [], []), declare([], [], reversed(tree), [], [])) == NOTHING


@given(st.permutations("abcdef"), st.permutations("abcdefgh"), st.integers(0, 8))
def test_rules_come_out_in_the_order_wanted(before: list[str], after: list[str], count: int) -> None:
    old, new = rules("".join(before)), rules("".join(after[:count]))
    assert list(amend(old, diff(old, new)).http_frontends) == list(new.http_frontends)


@given(STATES, STATES)
@settings(max_examples=60, deadline=None)
def test_any_state_becomes_any_other(before: State, after: State) -> None:
    amended = amend(before, diff(before, after))
    amended.check()
    assert amended == after
    assert ordered(amended) == ordered(after)


@given(STATES, SEQUENCES)
@settings(max_examples=60, deadline=None)
def test_there_and_back(state: State, asked: list[Asked]) -> None:
    after = carried_out(state, asked)
    back = amend(after, diff(after, state))
    assert (back, ordered(back)) == (state, ordered(state))


@given(STATES, STATES, st.none() | STATES, st.none() | STATES)
@settings(max_examples=40, deadline=None)
def test_what_the_file_declared_is_part_of_it(
    before: State, after: State, said: State | None, says: State | None
) -> None:
    before, after = with_declared(before, said), with_declared(after, says)
    amended = amend(before, diff(before, after))
    amended.check()
    assert amended == after
    if after.declared is not None and amended.declared is not None:
        assert ordered(amended.declared) == ordered(after.declared)


def test_the_file_says_something_for_the_first_and_last_time() -> None:
    told = with_declared(FULL, FULL)
    assert diff(FULL, told) == Delta(declared=diff(EMPTY, FULL))
    assert amend(FULL, diff(FULL, told)) == told
    assert amend(told, diff(told, FULL)) == FULL
    assert diff(told, copied(told)) == NOTHING
