"""The fewest rules that have moved, and where each stands now."""

from itertools import combinations, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import HttpFrontend, Position
from sozu_trio.routing.moves import moves
from sozu_trio.routing.state import State, declare

WEB, ELSE = Address("127.0.0.1", 80), Address("127.0.0.1", 81)


def rules(letters: str, address: Address = WEB, position: Position = Position.PRE) -> list[HttpFrontend]:
    return [HttpFrontend(address=address, hostname="*", path=f"/{letter}", position=position) for letter in letters]


def state(*frontends: HttpFrontend) -> State:
    return declare([], [], frontends, [], [])


def moved(before: State, after: State) -> list[str]:
    """`b<a`: b comes right after a now; `b<` is the first."""
    return [f"{each.rule.path[1:]}<{each.after.path[1:] if each.after else ''}" for each in moves(before, after)]


@pytest.mark.parametrize(
    ("before", "after", "found"),
    [
        ("", "", []),
        ("abc", "abc", []),
        ("abc", "bca", ["a<c"]),
        ("abc", "cab", ["c<"]),
        ("abcd", "acbd", ["c<a"]),
        ("abc", "ab", []),
        ("ab", "xaby", []),
        ("ab", "xba", ["b<x"]),
        ("abc", "cxba", ["c<", "b<x"]),
    ],
)
def test_rules_of_one_place(before: str, after: str, found: list[str]) -> None:
    assert moved(state(*rules(before)), state(*rules(after))) == found


def test_what_it_came_after_before() -> None:
    (move,) = moves(state(*rules("abc")), state(*rules("bca")))
    assert (move.before, move.after) == (None, next(iter(state(*rules("c")).http_frontends)))


def test_places_have_orders_of_their_own() -> None:
    here, there = rules("ab"), rules("xy", ELSE)
    assert moved(state(*here, *there), state(*there, *here)) == []
    assert moved(state(*here, *there), state(*there[::-1], *here)) == ["y<"]
    late = rules("c", position=Position.POST)
    assert moved(state(*here, *late), state(*late, *here)) == []


def test_a_rule_that_goes_to_another_position_has_changed_and_not_moved() -> None:
    before, after = rules("ab"), [*rules("b"), *rules("a", position=Position.POST)]
    assert moved(state(*before), state(*after)) == []


def test_rules_whose_order_means_nothing() -> None:
    tree = rules("ab", position=Position.TREE)
    assert moved(state(*tree), state(*tree[::-1])) == []


@given(st.permutations("abcdef"))
@settings(max_examples=40, deadline=None)
def test_those_that_do_not_move_stand_as_they_did_and_no_more_could(order: list[str]) -> None:
    named = {each[0] for each in moved(state(*rules("abcdef")), state(*rules("".join(order))))}
    kept = [letter for letter in order if letter not in named]
    assert kept == sorted(kept)
    more = combinations(order, len(kept) + 1)
    assert not any(all(a < b for a, b in pairwise(each)) for each in more)
