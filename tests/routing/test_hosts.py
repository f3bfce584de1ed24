"""Host patterns of one address: which of them a host finds, and in which order they are asked."""

import sys

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import HttpFrontend
from sozu_trio.config.patterns import canonical_host, parse_host
from sozu_trio.routing.decisions import Decision, Outcome
from sozu_trio.routing.hosts import NO_HOSTS, HostRules, compile_hosts, host_matches, plain_name, split_host
from sozu_trio.routing.paths import PathRules, compile_paths
from sozu_trio.routing.slices import Pace, finish


def path_rules(hostname: str, path: str = "", method: str | None = None) -> PathRules:
    frontend = HttpFrontend(address=Address("127.0.0.1", 80), hostname=hostname, path=path, method=method)
    return finish(compile_paths([(frontend, Decision(Outcome.DENY, None, frontend, frontend.tags))], None, Pace()))


def compiled(before: HostRules, changed: dict[str, PathRules | None], patterns: list[str] | None = None) -> HostRules:
    """`patterns`: the hosts with a regex as declared; without it those of `changed`."""
    declared = [host for host in changed if "/" in host] if patterns is None else patterns
    return finish(compile_hosts(before, changed, declared, Pace()))


def found(hostnames: list[str], host: bytes, path: bytes = b"/") -> str | None:
    """The hostname found; one written `host path` has a rule for that path only."""
    changed: dict[str, PathRules | None] = {}
    for hostname in hostnames:
        name, _, only = hostname.partition(" ")
        changed[canonical_host(name)] = path_rules(hostname, only)
    decision = compiled(NO_HOSTS, changed).find(host, path, b"GET")
    return decision.frontend.hostname if decision and decision.frontend else None


FORMS: list[tuple[str, list[bytes], list[bytes]]] = [
    ("example.com", [b"example.com"], [b"www.example.com", b"com", b"example.org", b""]),
    ("*.example.com", [b"a.example.com", b"xn--a.example.com"], [b"example.com", b"a.b.example.com", b".example.com"]),
    ("*", [b"example.com", b"[::1]", b"127.0.0.1", b"", b"\xff..\x00"], []),
    (
        "/cdn[0-9]+/.example.com",
        [b"cdn1.example.com"],
        [b"cdn.example.com", b"xcdn1.example.com", b"cdn1x.example.com"],
    ),
    ("/CDN/.example.com", [b"cdn.example.com"], [b"cdn.example.org"]),
    ("/a|b/.com", [b"a.com", b"b.com"], [b"ab.com", b"axb.com", b"a.b.com"]),
    ("/.*/.com", [b"a.com"], [b".com", b"a.b.com", b"com"]),
    ("www./.+/.com", [b"www.a.com"], [b"a.a.com", b"www..com", b"www.com"]),
    ("*./b+/.com", [b"a.b.com", b"a.bb.com"], [b"b.com", b"a.c.com", b"x.a.b.com", b".b.com"]),
    ("127.0.0.1", [b"127.0.0.1"], [b"127.0.0.2", b"x.127.0.0.1"]),
    ("[::1]", [b"[::1]"], [b"[::2]", b"::1"]),
    ("/.*/", [b"localhost", b"[::1]", b"[::ffff:1.2.3.4]"], [b"", b"a.b", b"a.", b".a", b"."]),
]


@pytest.mark.parametrize(("hostname", "matching", "others"), FORMS)
def test_a_pattern_matches(hostname: str, matching: list[bytes], others: list[bytes]) -> None:
    assert [host for host in matching + others if found([hostname], host)] == matching
    assert [host for host in matching + others if host_matches(parse_host(hostname), host)] == matching


BEST_FIRST = ["a.b.com", "*.b.com", "/a/.b.com", "/.*/.b.com", "a./b|c/.com", "*./b/.com", "/.*/./b/.com", "*"]


@pytest.mark.parametrize("without", range(len(BEST_FIRST)))
def test_the_most_specific_is_found(without: int) -> None:
    rest = BEST_FIRST[without:]
    assert found(rest, b"a.b.com") == rest[0]


@pytest.mark.parametrize("without", range(len(BEST_FIRST)))
def test_one_without_a_rule_for_the_path_is_passed_over(without: int) -> None:
    blind = [f"{hostname} /other" for hostname in BEST_FIRST[:without]]
    assert found(blind + BEST_FIRST[without:], b"a.b.com") == BEST_FIRST[without]
    assert found(blind, b"a.b.com") is None


def test_names_go_first_however_late_they_are_declared() -> None:
    assert found(["*", "*.b.com", "a.b.com"], b"a.b.com") == "a.b.com"
    assert found(["/.*/.b.com", "*.b.com"], b"a.b.com") == "*.b.com"


def test_the_label_nearest_the_root_decides_first() -> None:
    assert found(["a./b/.com", "*.b.com"], b"a.b.com") == "*.b.com"
    assert found(["a./b/.com", "/.*/.b.com"], b"a.b.com") == "/.*/.b.com"
    assert found(["*./b/.com", "/a/./b/.com", "a./b/.com"], b"a.b.com") == "a./b/.com"


def test_regexes_of_one_place_are_tried_as_declared() -> None:
    assert found(["/a.*/.com", "/.*b/.com"], b"ab.com") == "/a.*/.com"
    assert found(["/.*b/.com", "/a.*/.com"], b"ab.com") == "/.*b/.com"


def test_a_regex_keeps_the_place_of_its_first_pattern() -> None:
    assert found(["x./a/.com", "*./.*/.com", "y./a/.com"], b"y.a.com") == "y./a/.com"


def test_no_hosts() -> None:
    assert found([], b"example.com") is None


ONE_OF_EACH = ["a.com", "*.com", "*", "/a|b/.com", "[::1]", "127.0.0.1", "*./.+/.com"]


@pytest.mark.parametrize("hostname", ONE_OF_EACH)
def test_one_host_is_replaced_or_goes_and_all_others_stay(hostname: str) -> None:
    before = compiled(NO_HOSTS, {host: path_rules(host) for host in ONE_OF_EACH})
    other = path_rules(hostname, "/other")
    patterns = [host for host in ONE_OF_EACH if "/" in host]
    after = compiled(before, {hostname: other}, patterns)
    assert after.rules_of(hostname) is other
    gone = compiled(after, {hostname: None}, [host for host in patterns if host != hostname])
    assert gone.rules_of(hostname) is None
    for host in ONE_OF_EACH:
        assert before.rules_of(host) is not None, "the one before is as it was"
        if host != hostname:
            assert after.rules_of(host) is gone.rules_of(host) is before.rules_of(host)


def test_what_is_gone_is_found_no_more() -> None:
    for hostname, matching, _ in FORMS:
        host = canonical_host(hostname)
        gone = compiled(compiled(NO_HOSTS, {host: path_rules(hostname)}), {host: None}, [])
        assert not any(gone.find(each, b"/", b"GET") for each in matching)


def test_the_order_of_regexes_is_the_one_given() -> None:
    rules: dict[str, PathRules | None] = {host: path_rules(host) for host in ("/a.*/.com", "/.*b/.com")}
    before = compiled(NO_HOSTS, rules)
    moved = compiled(before, {"/a.*/.com": rules["/a.*/.com"]}, ["/.*b/.com", "/a.*/.com"])
    for hosts, first in ((before, "/a.*/.com"), (moved, "/.*b/.com")):
        decision = hosts.find(b"ab.com", b"/", b"GET")
        assert decision is not None
        assert decision.frontend is not None
        assert decision.frontend.hostname == first


def test_splitting() -> None:
    assert split_host(b"a.b.com") == [b"com", b"b", b"a"]
    assert split_host(b"[::ffff:1.2.3.4]") == [b"[::ffff:1.2.3.4]"]
    assert plain_name(parse_host("a.b")) == b"a.b"
    assert plain_name(parse_host("*.b")) is None


@pytest.mark.parametrize("hostname", ["/cdn[0-9]+/.b.com", "a./.*/.com", "/a/./a/./a/.com"])
def test_a_host_of_many_labels_is_not_gone_through_for_each_of_them(hostname: str) -> None:
    """A client may send 64 KiB of them: 400 ms, where each look takes what is left of the host."""
    rules = compiled(NO_HOSTS, {canonical_host(hostname): path_rules(hostname)})
    calls: list[str] = []
    sys.setprofile(lambda frame, event, argument: calls.append(event) if event == "c_call" else None)
    try:
        decision = rules.find(b"a." * 30_000 + b"com", b"/", b"GET")
    finally:
        sys.setprofile(None)
    assert decision is None
    assert len(calls) < 20
