"""Positions PRE and POST: the first rule that matches, in the order of declaration."""

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import HttpFrontend
from sozu_trio.routing.ordered import NO_RULES, OrderedRules, compile_ordered
from sozu_trio.routing.slices import Pace, finish
from sozu_trio.routing.state import frontend_key


def rule(hostname: str, path: str = "", method: str | None = None) -> HttpFrontend:
    return HttpFrontend(address=Address("127.0.0.1", 80), hostname=hostname, path=path, method=method)


def compiled(rules: list[HttpFrontend], before: OrderedRules = NO_RULES) -> OrderedRules:
    return finish(compile_ordered({frontend_key(each): each for each in rules}, {}, before, Pace()))


def found(rules: list[HttpFrontend], host: bytes, path: bytes = b"/", method: bytes = b"GET") -> HttpFrontend | None:
    decision = compiled(rules).find(host, path, method)
    return None if decision is None else decision.frontend


@pytest.mark.parametrize(
    "hostnames",
    [
        ("*", "a.com"),
        ("a.com", "*"),
        ("/.*/.com", "*.com", "a.com"),
        ("*.com", "/a/.com", "*"),
    ],
)
def test_the_first_declared_decides(hostnames: tuple[str, ...]) -> None:
    rules = [rule(hostname) for hostname in hostnames]
    assert found(rules, b"a.com") is rules[0]


def test_nothing_but_order_counts() -> None:
    short, long = rules = [rule("a.com", "/"), rule("a.com", "/long")]
    assert found(rules, b"a.com", b"/long") is short
    any_method, get = rules = [rule("a.com"), rule("a.com", method="GET")]
    assert found(rules, b"a.com") is any_method
    assert found(rules[::-1], b"a.com") is get
    assert found([long, short], b"a.com", b"/long") is long


def test_rules_that_do_not_match_are_passed_over() -> None:
    *_, last = rules = [
        rule("b.com"),
        rule("a.com", "/x"),
        rule("*", method="POST"),
        rule("*.org"),
        rule("a.com", method="PUT"),
        rule("*"),
    ]
    assert found(rules, b"a.com") is last
    assert found(rules[:-1], b"a.com") is None


def test_a_pattern_declared_after_the_name_that_matched_is_not_asked() -> None:
    blind, named, everything = rules = [rule("*", "/x"), rule("a.com"), rule("*")]
    assert found(rules, b"a.com") is named
    assert found(rules, b"b.com") is everything
    assert found(rules, b"a.com", b"/x") is blind


def test_no_host() -> None:
    everything = rule("*")
    assert found([rule("a.com"), everything], b"") is everything


def test_what_stays_is_used_again_at_its_new_place() -> None:
    everything, named, other = rules = [rule("*"), rule("a.com"), rule("/a+/.com", "/x")]
    before = compiled(rules)
    for after in ([named, other], [other, named, everything], [everything, rule("b.com"), named], []):
        now = compiled(after, before)
        assert list(now.rules) == [frontend_key(each) for each in after]
        for each in [each for each in rules if each in after]:
            old, new = before.rules[frontend_key(each)], now.rules[frontend_key(each)]
            assert (new.decision, new.paths, new.host) == (old.decision, old.paths, old.host)
            assert new.decision is old.decision
        for host, path in ((b"a.com", b"/"), (b"a.com", b"/x"), (b"b.com", b"/")):
            found_now, expected = now.find(host, path, b"GET"), compiled(after).find(host, path, b"GET")
            assert found_now == expected
