"""One host's path rules: which of them a path and a method find."""

import re

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import HttpFrontend, PathType
from sozu_trio.routing.decisions import Decision, Outcome, Rule
from sozu_trio.routing.paths import PathRules, compile_paths
from sozu_trio.routing.slices import Pace, finish

PREFIX, EQUALS, REGEX = PathType.PREFIX, PathType.EQUALS, PathType.REGEX


def rule(path_type: PathType, path: str, method: str | None = None) -> Rule:
    frontend = HttpFrontend(
        address=Address("127.0.0.1", 80), hostname="*", path=path, path_type=path_type, method=method
    )
    return frontend, Decision(Outcome.DENY, None, frontend, frontend.tags)


def compiled(rules: list[Rule], before: PathRules | None = None) -> PathRules:
    return finish(compile_paths(rules, before, Pace()))


def found(rules: list[Rule], path: bytes, method: bytes = b"GET") -> Rule | None:
    decision = compiled(rules).find(path, method)
    return next((rule for rule in rules if rule[1] is decision), None)


@pytest.mark.parametrize(
    ("path_type", "path", "matching", "others"),
    [
        (PREFIX, "", [b"/", b"/a/b", b"*", b""], []),
        (PREFIX, "/", [b"/", b"/a/b"], [b"*", b""]),
        (PREFIX, "/api", [b"/api", b"/api/", b"/apix"], [b"/ap", b"/API", b"/x/api", b"/%61pi"]),
        (EQUALS, "/api", [b"/api"], [b"/api/", b"/apix", b"/ap", b"/API"]),
        (EQUALS, "*", [b"*"], [b"/", b"/*"]),
        (REGEX, "/v[0-9]+", [b"/v1", b"/v10"], [b"/v", b"/v1/", b"x/v1", b"/v1\n"]),
        (REGEX, "/a|/b", [b"/a", b"/b"], [b"/ab", b"/a/b"]),
        (PREFIX, "/é", ["/é/".encode()], [b"/%C3%A9/"]),
    ],
)
def test_a_rule_matches(path_type: PathType, path: str, matching: list[bytes], others: list[bytes]) -> None:
    rules = compiled([rule(path_type, path)])
    assert [path for path in matching + others if rules.find(path, b"GET")] == matching


def test_equals_before_regex_before_prefix_whatever_the_order() -> None:
    prefix, regex, equals = rules = [rule(PREFIX, "/a/b"), rule(REGEX, "/a/.*"), rule(EQUALS, "/a/b")]
    assert found(rules, b"/a/b") is equals
    assert found(rules, b"/a/bc") is regex
    assert found([prefix, regex], b"/a/b") is regex
    assert found([prefix], b"/a/b") is prefix


def test_the_longest_prefix_is_found_past_others_that_sort_between() -> None:
    paths = ["", "/", "/a", "/a/b", "/a/b/c", "/a/c", "/a0", "/b/b/b"]
    rules = {path: rule(PREFIX, path) for path in paths}
    for path, longest in [
        (b"", ""),
        (b"*", ""),
        (b"/", "/"),
        (b"/x", "/"),
        (b"/a/b/d", "/a/b"),
        (b"/a/bz", "/a/b"),
        (b"/a/b/c/d", "/a/b/c"),
        (b"/a/x", "/a"),
        (b"/a1", "/a"),
        (b"/b/b", "/"),
        (b"/\xff", "/"),
    ]:
        assert found(list(rules.values()), path) is rules[longest]


def test_nothing_sorts_before_the_path() -> None:
    assert found([rule(PREFIX, "/b")], b"/a") is None


def test_regexes_are_tried_as_declared() -> None:
    first, second = rules = [rule(REGEX, "/a.*"), rule(REGEX, "/.*")]
    assert found(rules, b"/ab") is first
    assert found([second, first], b"/ab") is second
    assert found(rules, b"/b") is second


@pytest.mark.parametrize("path_type", list(PathType))
def test_of_one_path_the_rule_for_the_method_goes_first(path_type: PathType) -> None:
    any_method, post = rules = [rule(path_type, "/a"), rule(path_type, "/a", "POST")]
    assert found(rules, b"/a", b"POST") is post
    assert found(rules, b"/a", b"GET") is any_method
    assert found([post], b"/a", b"GET") is None
    assert found([post], b"/a", b"post") is None


def test_a_rule_for_another_method_is_passed_over() -> None:
    everything, short, long = rule(PREFIX, ""), rule(PREFIX, "/a"), rule(PREFIX, "/a/b", "POST")
    regex, equals = rule(REGEX, "/a/.*", "PUT"), rule(EQUALS, "/a/b/c", "DELETE")
    rules = [everything, short, long, regex, equals]
    for method, expected in [(b"DELETE", equals), (b"PUT", regex), (b"POST", long), (b"GET", short)]:
        assert found(rules, b"/a/b/c", method) is expected


def test_a_path_goes_before_a_method() -> None:
    longer, for_get = rules = [rule(PREFIX, "/a/b"), rule(PREFIX, "/a", "GET")]
    assert found(rules, b"/a/b", b"GET") is longer
    assert found(rules, b"/a/c", b"GET") is for_get


def test_no_rules() -> None:
    assert found([], b"/") is None


def test_a_bad_regex_is_refused() -> None:
    with pytest.raises(ValueError, match="'/a\\(' is not a regex"):
        compiled([rule(REGEX, "/a(")])


def test_all_decisions_are_listed() -> None:
    rules = [rule(REGEX, "/a"), rule(EQUALS, "/a"), rule(PREFIX, "/a"), rule(PREFIX, "/a", "GET"), rule(REGEX, "/b")]
    assert {id(decision) for decision in compiled(rules).decisions()} == {id(decision) for _, decision in rules}


def test_what_was_compiled_is_not_compiled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before = compiled([rule(REGEX, "/a+"), rule(REGEX, "/b+")])
    asked: list[str] = []

    def compile_path_regex(path: str) -> re.Pattern[bytes]:
        asked.append(path)
        return re.compile(path.encode())

    monkeypatch.setattr("sozu_trio.routing.paths.compile_path_regex", compile_path_regex)
    after = compiled([rule(REGEX, "/b+"), rule(REGEX, "/c+"), rule(EQUALS, "/a+")], before)
    assert asked == ["/c+"]
    assert after.patterns()[b"/b+"] is before.patterns()[b"/b+"]
