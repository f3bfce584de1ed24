"""All rules of an address: positions in their order, and the whole held against a plain reading of docs/routing.md."""

import re
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import HttpFrontend, PathType, Position
from sozu_trio.config.listeners import HttpListener
from sozu_trio.routing.compile import compile_table
from sozu_trio.routing.decisions import NOT_FOUND, Decision, Outcome
from sozu_trio.routing.http_routes import NO_ROUTES, HttpRoutes
from sozu_trio.routing.state import declare, frontend_key

ADDRESS = Address("127.0.0.1", 80)


def compiled(frontends: Iterable[HttpFrontend]) -> HttpRoutes:
    return compile_table(declare([HttpListener(address=ADDRESS)], [], frontends, [], []), 1).http[ADDRESS]


def found(
    frontends: list[HttpFrontend], host: bytes, path: bytes = b"/", method: bytes = b"GET"
) -> HttpFrontend | None:
    return compiled(frontends).find(host, path, method).frontend


def frontend(
    hostname: str,
    path: str = "",
    path_type: PathType = PathType.PREFIX,
    method: str | None = None,
    position: Position = Position.TREE,
) -> HttpFrontend:
    return HttpFrontend(
        address=ADDRESS, hostname=hostname, path=path, path_type=path_type, method=method, position=position
    )


def test_pre_then_tree_then_post() -> None:
    post = frontend("a.com", "/exact", PathType.EQUALS, position=Position.POST)
    tree = frontend("a.com", "/e")
    pre = frontend("*", method="PUT", position=Position.PRE)
    rules = [post, tree, pre]
    assert found(rules, b"a.com", b"/exact", b"PUT") is pre
    assert found(rules, b"a.com", b"/exact") is tree
    assert found([post, pre], b"a.com", b"/exact") is post
    assert found(rules, b"b.com", b"/exact") is None


@pytest.mark.parametrize("position", list(Position))
def test_a_star_host_takes_a_request_without_host_in_every_position(position: Position) -> None:
    everything = frontend("*", position=position)
    assert found([everything], b"") is everything


@pytest.mark.parametrize("position", list(Position))
def test_an_ipv6_literal_is_found_however_it_is_spelt(position: Position) -> None:
    literal = frontend("0::1", position=position)
    assert found([literal], b"[0:0:0:0:0:0:0:1]") is literal
    assert found([literal], b"[::1]") is literal


def test_an_exact_host_without_a_matching_path_falls_back_to_the_wildcard() -> None:
    api, rest = rules = [frontend("www.example.com", "/api"), frontend("*.example.com")]
    assert found(rules, b"www.example.com", b"/api/users") is api
    assert found(rules, b"www.example.com", b"/") is rest


def test_options_star() -> None:
    everything, star = frontend("a.com"), frontend("a.com", "*", PathType.EQUALS)
    assert found([everything, star], b"a.com", b"*", b"OPTIONS") is star
    assert found([everything], b"a.com", b"*", b"OPTIONS") is everything
    assert found([frontend("a.com", "/")], b"a.com", b"*", b"OPTIONS") is None


def test_no_rule_matches() -> None:
    assert NO_ROUTES.find(b"a.com", b"/", b"GET") is NOT_FOUND
    assert compiled([frontend("b.com")]).find(b"a.com", b"/", b"GET") is NOT_FOUND
    assert NOT_FOUND.outcome is Outcome.NOT_FOUND


def test_decisions_are_ready_made() -> None:
    routes = compiled([frontend("a.com")])
    assert routes.find(b"a.com", b"/", b"GET") is routes.find(b"a.com", b"/x", b"PUT")


@given(
    st.binary(max_size=12) | st.text("ab.:[]1", max_size=12).map(str.encode),
    st.binary(max_size=6),
    st.binary(max_size=4),
)
def test_finding_never_raises(host: bytes, path: bytes, method: bytes) -> None:
    routes = compiled(frontend(h, p, t) for h in HOSTNAMES if h != "*" for t, p in PATHS)
    assert isinstance(routes.find(host, path, method), Decision)


# The reading of docs/routing.md: every rule is asked whether it matches, and of those that do the first by rank is it.

HOSTNAMES = [
    "a.b",
    "b",
    "*.b",
    "*",
    "/a|c/.b",
    "/.*/.b",
    "a./b/",
    "*./b|d/",
    "/a/./.*/",
    "/[ab]/",
    "a./[bd]/.b",
    "/.*/./a|b/.b",
    "::1",
    "127.0.0.1",
    "*.0.0.1",
]
PATHS = [
    *((PathType.PREFIX, path) for path in ["", "/", "/x", "/x/y", "/xy", "*"]),
    *((PathType.EQUALS, path) for path in ["/", "/x", "/x/y", "*"]),
    *((PathType.REGEX, path) for path in ["/x.*", "/[xy]", "/x|/y", ".*"]),
]
frontends = st.builds(
    lambda host, path, method, position: frontend(host, path[1], path[0], method, position),
    st.sampled_from(HOSTNAMES),
    st.sampled_from(PATHS),
    st.sampled_from([None, None, "GET", "PUT"]),
    st.sampled_from([Position.TREE, Position.TREE, Position.TREE, Position.PRE, Position.POST]),
)
hosts = st.sampled_from(
    [
        b"a.b",
        b"c.b",
        b"a.d",
        b"b",
        b"a",
        b"",
        b"[::1]",
        b"[0::1]",
        b"127.0.0.1",
        b"a.a.b",
        b".b",
        b"a.",
        b"a.b.",
        b"a..b",
        b"..",
        b"a.a.a.b",
    ]
)
paths = st.sampled_from([b"/", b"/x", b"/xy", b"/x/y", b"/x/y/z", b"/y", b"/z", b"*", b""])

Rank = tuple[object, ...]


def labels_of(hostname: str) -> list[str]:
    """From the right; `::1` is the only literal with colons here, and no regex has a dot outside of its slashes."""
    if ":" in hostname:
        return ["[::1]"]
    return re.findall(r"/[^/]*/|[^./]+", hostname)[::-1]


def label_matches(pattern: str, label: str) -> bool:
    if pattern.startswith("/"):
        return label != "" and re.search(rf"\A(?:{pattern[1:-1]})\Z", label) is not None
    return pattern == label or (pattern == "*" and label != "")


def host_matches(hostname: str, host: bytes) -> bool:
    text = "[::1]" if host == b"[0::1]" else host.decode()
    wanted, given = labels_of(hostname), [text] if ":" in text else text.split(".")[::-1]
    return hostname == "*" or (len(wanted) == len(given) and all(map(label_matches, wanted, given)))


def path_matches(rule: HttpFrontend, path: bytes) -> bool:
    text = path.decode()
    match rule.path_type:
        case PathType.PREFIX:
            return text[: len(rule.path)] == rule.path
        case PathType.EQUALS:
            return text == rule.path
        case PathType.REGEX:
            return re.search(rf"\A(?:{rule.path})\Z", text) is not None


def host_rank(hostname: str, rules: list[HttpFrontend]) -> Rank:
    if hostname == "*":
        return ((3,),)
    labels = labels_of(hostname)
    return tuple(label_rank(labels[: depth + 1], rules) for depth in range(len(labels)))


def label_rank(labels: list[str], rules: list[HttpFrontend]) -> Rank:
    if labels[-1] == "*":
        return (1,)
    if not labels[-1].startswith("/"):
        return (0,)
    same_so_far = (labels_of(rule.hostname)[: len(labels)] == labels for rule in rules)
    return (2, list(same_so_far).index(True))


def path_rank(rule: HttpFrontend, rules: list[HttpFrontend]) -> Rank:
    match rule.path_type:
        case PathType.EQUALS:
            return (0,)
        case PathType.REGEX:
            host_of = [(labels_of(one.hostname), one.path_type, one.path) for one in rules]
            return (1, host_of.index((labels_of(rule.hostname), rule.path_type, rule.path)))
        case PathType.PREFIX:
            return (2, -len(rule.path))


def plain_reading(rules: list[HttpFrontend], host: bytes, path: bytes, method: bytes) -> HttpFrontend | None:
    tree = [rule for rule in rules if rule.position is Position.TREE]

    def rank(rule: HttpFrontend) -> Rank:
        position = list(Position).index(rule.position)
        if rule.position is not Position.TREE:
            return (position, rules.index(rule))
        return (position, host_rank(rule.hostname, tree), path_rank(rule, tree), rule.method is None)

    matching = [
        rule
        for rule in rules
        if host_matches(rule.hostname, host) and path_matches(rule, path) and rule.method in (None, method.decode())
    ]
    return min(matching, key=rank, default=None)


@settings(max_examples=400)
@given(
    st.lists(frontends, max_size=14, unique_by=frontend_key), st.lists(st.tuples(hosts, paths), min_size=1, max_size=8)
)
def test_against_a_plain_reading_of_the_rules(rules: list[HttpFrontend], requests: list[tuple[bytes, bytes]]) -> None:
    routes = compiled(rules)
    for host, path in requests:
        for method in (b"GET", b"PUT", b"HEAD"):
            assert routes.find(host, path, method).frontend is plain_reading(rules, host, path, method)
