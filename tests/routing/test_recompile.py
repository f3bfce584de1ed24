"""A Table made from the one before equals one made from nothing, shares what is not touched, and comes in slices."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from types import FrameType
from typing import Any, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend, PathType, Position, TcpFrontend
from sozu_trio.config.listeners import HttpListener, TcpListener
from sozu_trio.routing.compile import compile_table, recompile
from sozu_trio.routing.decisions import ClusterEntry, Decision, Outcome
from sozu_trio.routing.delta import NOTHING, Delta, amend, diff
from sozu_trio.routing.slices import SLICE, Sliced, finish
from sozu_trio.routing.state import EMPTY, FrontendKey, State, declare, frontend_key
from sozu_trio.routing.table import NO_TABLE, Table

T = TypeVar("T")

ADDRESSES = [Address("127.0.0.1", port) for port in (1, 2, 3)]
WEB = ADDRESSES[0]
CLUSTERS = ["a", "b", "c"]
HOSTS = [b"a.b", b"c.b", b"b", b"a.d", b"[::1]", b""]
PATHS = [b"/", b"/x", b"/x/y", b"/y"]

listeners = st.builds(
    lambda kind, address: kind(address=address),
    st.sampled_from([HttpListener, TcpListener]),
    st.sampled_from(ADDRESSES),
)
clusters = st.builds(Cluster, cluster_id=st.sampled_from(CLUSTERS), max_idle_connections=st.sampled_from([64, 1]))
backends = st.builds(
    Backend,
    cluster_id=st.sampled_from(CLUSTERS),
    backend_id=st.sampled_from(["1", "2"]),
    address=st.sampled_from(ADDRESSES),
)
http_frontends = st.builds(
    HttpFrontend,
    address=st.sampled_from(ADDRESSES[:2]),
    hostname=st.sampled_from(["a.b", "A.B.", "*.b", "*", "/a|c/.b", "/.*/.b", "a./b|d/", "::1"]),
    path=st.sampled_from(["", "/x", "/x|/y", "/.*"]),
    path_type=st.sampled_from(PathType),
    method=st.sampled_from([None, "GET"]),
    position=st.sampled_from([Position.TREE, Position.TREE, Position.PRE, Position.POST]),
    cluster_id=st.sampled_from([None, *CLUSTERS, "never declared"]),
)
tcp_frontends = st.builds(TcpFrontend, address=st.sampled_from(ADDRESSES), cluster_id=st.sampled_from(CLUSTERS))


def some(records: st.SearchStrategy[T], most: int = 2) -> st.SearchStrategy[tuple[T, ...]]:
    return st.lists(records, max_size=most).map(tuple)


states = st.builds(
    lambda *records: amend(EMPTY, puts(*records)),
    some(listeners, 4),
    some(clusters, 4),
    some(http_frontends, 12),
    some(tcp_frontends, 3),
    some(backends, 6),
)


def puts(*records: tuple[Any, ...]) -> Delta:
    names = ("listeners", "clusters", "http_frontends", "tcp_frontends", "backends")
    members: dict[str, Any] = dict(zip(names, records, strict=True))
    return Delta(**members)


def draw_delta(data: st.DataObject, state: State) -> Delta:
    """Some of what is there goes, and some is put, perhaps what has just gone."""

    def gone(keys: list[T]) -> tuple[T, ...]:
        return tuple(data.draw(st.lists(st.sampled_from(keys), max_size=2, unique=True))) if keys else ()

    put = data.draw(
        st.builds(
            puts, some(listeners, 1), some(clusters, 1), some(http_frontends), some(tcp_frontends, 1), some(backends, 1)
        )
    )
    return replace(
        put,
        gone_listeners=gone(list(state.listeners)),
        gone_clusters=gone(list(state.clusters)),
        gone_http_frontends=gone(list(state.http_frontends)),
        gone_tcp_frontends=gone(list(state.tcp_frontends)),
        gone_backends=gone([(cluster, one) for cluster, each in state.backends.items() for one in each]),
    )


def answers(table: Table) -> Iterator[tuple[object, Decision]]:
    """Everything there is to ask, with what comes of it."""
    for address, routes in table.http.items():
        for request in product(HOSTS, PATHS, (b"GET", b"PUT")):
            yield (address, *request), routes.find(*request)
    for address, decision in table.tcp.items():
        yield address, decision


def assert_same(table: Table, expected: Table) -> None:
    assert (table.generation, table.listeners) == (expected.generation, expected.listeners)
    assert dict(entries(table)) == dict(entries(expected))
    assert {asked: told(decision) for asked, decision in answers(table)} == {
        asked: told(decision) for asked, decision in answers(expected)
    }
    for _, decision in answers(table):
        if decision.cluster is not None and (cluster_id := decision.cluster.cluster.cluster_id) in table.clusters:
            assert decision.cluster is table.clusters[cluster_id]


def entries(table: Table) -> Iterator[tuple[str, object]]:
    for cluster_id, entry in table.clusters.items():
        yield cluster_id, told_of(entry)


def told(decision: Decision) -> object:
    entry = decision.cluster
    return decision.outcome, decision.frontend, decision.tags, None if entry is None else told_of(entry)


def told_of(entry: ClusterEntry) -> object:
    """The order of backends has no meaning, and a difference of States does not keep it."""
    return entry.cluster, sorted(entry.backends, key=lambda backend: backend.backend_id)


@settings(max_examples=100, deadline=None)
@given(states, st.data())
def test_any_changes_come_to_the_same_as_compiling_from_nothing(state: State, data: st.DataObject) -> None:
    table = finish(recompile(NO_TABLE, state, diff(EMPTY, state), 1))
    assert_same(table, compile_table(state, 1))
    for generation in (2, 3, 4):
        delta = draw_delta(data, state)
        after = amend(state, delta)
        now = finish(recompile(table, after, delta, generation))
        assert_same(now, compile_table(after, generation))
        assert_untouched_is_shared(state, table, delta, after, now)
        state, table = after, now


@settings(max_examples=100, deadline=None)
@given(states, states)
def test_the_difference_of_two_states_comes_to_the_same(before: State, after: State) -> None:
    delta = diff(before, after)
    table = finish(recompile(compile_table(before, 1), amend(before, delta), delta, 2))
    assert_same(table, compile_table(after, 2))


def assert_untouched_is_shared(state: State, table: Table, delta: Delta, after: State, now: Table) -> None:
    for cluster_id in table.clusters.keys() & now.clusters.keys():
        same = table.clusters[cluster_id] == now.clusters[cluster_id]
        assert (table.clusters[cluster_id] is now.clusters[cluster_id]) is same
    touched = touched_hosts(state, table, delta, after, now)
    for address in table.http.keys() & now.http.keys():
        if not any(host_address == address for host_address, _ in touched):
            assert now.http[address] is table.http[address]
        for key in after.http_frontends:
            if key.address == address and (address, key.hostname) not in touched:
                assert tree(now, key) is tree(table, key)
    before = dict(answers(table))
    for asked, decision in answers(now):
        was = before.get(asked)
        if was is None or decision.frontend is None or was.cluster is not decision.cluster:
            continue
        assert (was.frontend is decision.frontend) is (was is decision)


def tree(table: Table, key: FrontendKey) -> object:
    return table.http[key.address].tree.rules_of(key.hostname)


def touched_hosts(state: State, table: Table, delta: Delta, after: State, now: Table) -> set[tuple[Address, str]]:
    entries = {cluster_id: (table.clusters.get(cluster_id), now.clusters.get(cluster_id)) for cluster_id in CLUSTERS}
    changed = {cluster_id for cluster_id, (one, other) in entries.items() if one is not other}
    keys = {*delta.gone_http_frontends, *map(frontend_key, delta.http_frontends)}
    for each in (state, after):
        keys |= {key for key, frontend in each.http_frontends.items() if frontend.cluster_id in changed}
    return {(key.address, key.hostname) for key in keys}


# What comes alive, and when.

RULE = HttpFrontend(address=WEB, hostname="a.b", cluster_id="a")
ONE = Backend(cluster_id="a", backend_id="1", address=Address("127.0.0.1", 9))


def outcome(table: Table) -> tuple[Outcome, int] | None:
    routes = table.http.get(WEB)
    if routes is None:
        return None
    decision = routes.find(b"a.b", b"/", b"GET")
    return decision.outcome, 0 if decision.cluster is None else len(decision.cluster.backends)


@pytest.mark.parametrize(
    "order",
    [
        ["rule", "backend", "cluster", "listener"],
        ["listener", "rule", "cluster", "backend"],
        ["backend", "listener", "cluster", "rule"],
    ],
)
def test_records_may_come_and_go_in_any_order(order: list[str]) -> None:
    there = {
        "rule": (Delta(http_frontends=(RULE,)), Delta(gone_http_frontends=(frontend_key(RULE),))),
        "backend": (Delta(backends=(ONE,)), Delta(gone_backends=(("a", "1"),))),
        "cluster": (Delta(clusters=(Cluster(cluster_id="a", max_idle_connections=7),)), Delta(gone_clusters=("a",))),
        "listener": (Delta(listeners=(HttpListener(address=WEB),)), Delta(gone_listeners=(("tcp", WEB),))),
    }
    state, table, present = EMPTY, NO_TABLE, set[str]()
    for what, add in [*((what, True) for what in order), *((what, False) for what in order)]:
        delta = there[what][0 if add else 1]
        present = present | {what} if add else present - {what}
        state = amend(state, delta)
        table = finish(recompile(table, state, delta, 1))
        if "listener" not in present:
            assert outcome(table) is None
        elif "rule" not in present:
            assert outcome(table) == (Outcome.NOT_FOUND, 0)
        else:
            assert outcome(table) == (Outcome.FORWARD, int({"cluster", "backend"} <= present))


def test_nothing_changed() -> None:
    state = amend(EMPTY, puts((HttpListener(address=WEB),), (), (RULE,), (), ()))
    table = compile_table(state, 1)
    again = finish(recompile(table, state, NOTHING, 2))
    assert again.generation == 2
    assert again.http[WEB] is table.http[WEB]


def test_a_regex_that_is_none_leaves_the_table_as_it_is() -> None:
    state = amend(EMPTY, puts((HttpListener(address=WEB),), (), (RULE,), (), ()))
    table = compile_table(state, 1)
    delta = Delta(http_frontends=(replace(RULE, path="/a(", path_type=PathType.REGEX),))
    with pytest.raises(ValueError, match="is not a regex"):
        finish(recompile(table, amend(state, delta), delta, 2))
    assert outcome(table) == (Outcome.FORWARD, 0)


# Slices are held to lines of code that were run, not to what the code says that it did.

MOST = 25 * SLICE
"""Lines of one slice: what a unit may take by far, and what looking at a batch does."""


def lines_of(work: Sliced[T]) -> tuple[T, list[int]]:
    """What comes of `work`, and how many lines each slice ran."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes = False
        count += event == "line"
        return trace

    counts: list[int] = []
    outer = sys.gettrace()
    while True:
        count = 0
        sys.settrace(trace)
        try:
            next(work)
        except StopIteration as done:
            return done.value, [*counts, count]
        finally:
            sys.settrace(outer)
        counts.append(count)


def crowd(size: int, hostname: str, path: str, path_type: PathType, position: Position) -> State:
    """`size` clusters of one backend and one rule each; `{}` is the number of each."""
    names = [f"c{number}" for number in range(size)]
    return declare(
        [HttpListener(address=WEB)],
        [Cluster(cluster_id=name) for name in names],
        [
            HttpFrontend(
                address=WEB,
                hostname=hostname.format(number),
                path=path.format(number),
                path_type=path_type,
                position=position,
                cluster_id=name,
            )
            for number, name in enumerate(names)
        ],
        [],
        [Backend(cluster_id=name, backend_id="1", address=WEB) for name in names],
    )


@pytest.mark.parametrize(
    ("hostname", "path", "path_type", "position"),
    [
        ("app-{}.example.com", "", PathType.PREFIX, Position.TREE),
        ("/app{}/.example.com", "", PathType.PREFIX, Position.TREE),
        ("example.com", "/app-{}", PathType.PREFIX, Position.TREE),
        ("example.com", "/app-{}.*", PathType.REGEX, Position.TREE),
        ("app-{}.example.com", "", PathType.PREFIX, Position.PRE),
    ],
)
def test_no_slice_is_long(hostname: str, path: str, path_type: PathType, position: Position) -> None:
    state = crowd(2000, hostname, path, path_type, position)
    table, full = lines_of(recompile(NO_TABLE, state, diff(EMPTY, state), 1))
    assert max(full) < MOST
    assert sum(full) > 2 * max(full)
    delta = Delta(backends=(replace(ONE, cluster_id="c1000"),))
    after = amend(state, delta)
    now, one = lines_of(recompile(table, after, delta, 2))
    assert max(one) < MOST
    assert sum(one) < sum(full)
    assert len(now.clusters["c1000"].backends) == 1


def test_no_slice_is_long_where_many_backends_change() -> None:
    gone = Delta(gone_backends=tuple((f"c{number}", "b") for number in range(30_000)))
    assert max(lines_of(recompile(NO_TABLE, EMPTY, gone, 2))[1]) < MOST


def test_a_change_among_many_hosts_is_small() -> None:
    state = crowd(2000, "app-{}.example.com", "", PathType.PREFIX, Position.TREE)
    table, full = lines_of(recompile(NO_TABLE, state, diff(EMPTY, state), 1))
    delta = Delta(http_frontends=(RULE,))
    _, one = lines_of(recompile(table, amend(state, delta), delta, 2))
    assert sum(one) * 4 < sum(full)
    assert sum(one) < 5 * 2000
