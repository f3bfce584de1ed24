"""Positions PRE and POST: the first rule that matches, in the order of declaration."""

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import HttpFrontend
from sozu_trio.routing.decisions import Decision, Outcome, Rule
from sozu_trio.routing.ordered import OrderedRules


def rule(hostname: str, path: str = "", method: str | None = None) -> Rule:
    frontend = HttpFrontend(address=Address("127.0.0.1", 80), hostname=hostname, path=path, method=method)
    return frontend, Decision(Outcome.DENY, None, frontend, frontend.tags)


def found(rules: list[Rule], host: bytes, path: bytes = b"/", method: bytes = b"GET") -> Rule | None:
    decision = OrderedRules(rules).find(host, path, method)
    return next((rule for rule in rules if rule[1] is decision), None)


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
