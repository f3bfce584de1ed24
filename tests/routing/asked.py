"""Changes as they are asked for, at random, and the States that come of them: few names, so that they meet."""

from dataclasses import replace
from typing import Any

from hypothesis import strategies as st

from sozu_trio.config.report import Report
from sozu_trio.control.certificates import with_certificates_read
from sozu_trio.errors import ChangeRefused, Problem
from sozu_trio.routing.changes import Change, apply_all, read_change
from sozu_trio.routing.state import EMPTY, State, declare, with_declared
from tests.routing.certificates import FakePem, digits

Asked = tuple[str, dict[str, Any]]


def read(*asked: Asked) -> list[Change]:
    """Changes whose bodies are right."""
    report = Report()
    changes = [read_change(verb, body, report, f"changes[{number}]") for number, (verb, body) in enumerate(asked)]
    understood = [with_certificates_read(change, FakePem(), report) for change in changes if change is not None]
    assert report.problems == []
    return [change for change in understood if change is not None]


def carried_out(state: State, asked: list[Asked]) -> State:
    """`state` after those that can be made, one after the other."""
    for change in read(*asked):
        after = attempt(state, [change])
        if isinstance(after, State):
            state = after
        state.check()
    return state


def copied(state: State) -> State:
    """An equal State that shares nothing with this one that could be changed."""
    copy = declare(
        [replace(each) for each in state.listeners.values()],
        [replace(each) for each in state.clusters.values()],
        [replace(each) for each in state.http_frontends.values()],
        [replace(each) for each in state.tcp_frontends.values()],
        [replace(each) for of_cluster in state.backends.values() for each in of_cluster.values()],
        state.settings,
        [replace(each, certificate=replace(each.certificate)) for each in state.certificates.values()],
    )
    return with_declared(copy, None if state.declared is None else copied(state.declared))


def attempt(state: State, changes: list[Change]) -> State | list[Problem]:
    """What comes of all of `changes`, or why nothing does."""
    try:
        return apply_all(state, changes)
    except ChangeRefused as refused:
        problems = list(refused.problems)
    assert problems
    return problems


def _body(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    hyphened = {name.replace("_", "-"): strategy for name, strategy in optional.items()}
    return st.fixed_dictionaries(required, optional=hyphened)


CLUSTERS = st.sampled_from(["a", "b"])
ADDRESSES = st.sampled_from(["127.0.0.1:1", "127.0.0.1:2", "127.0.0.1:3"])
SMALL = st.integers(0, 2)
RULE = {"address": ADDRESSES, "hostname": st.sampled_from(["x.example", "*", "/r/.example"])}
RULE_OPTIONS = {"path_prefix": st.just("/p"), "method": st.just("GET")}
PROTOCOL = st.sampled_from(["http", "tcp"])
BACKEND = {"id": CLUSTERS, "backend-id": st.sampled_from(["1", "2"])}
LISTENER = {"address": ADDRESSES}
PEMS = st.sampled_from(["a", "a+2", "a,b", "c"])
NEW = {**LISTENER, "new-certificate": PEMS, "new-key": st.just("KEY")}

BODIES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "certificate add": _body(
        {**LISTENER, "certificate": PEMS, "key": st.sampled_from(["KEY", "OTHER"])}, default=st.booleans()
    ),
    "certificate remove": _body({**LISTENER, "certificate": PEMS}),
    "certificate replace": _body({**NEW, "fingerprint": PEMS.map(digits)}),
    "cluster add": _body({"id": CLUSTERS}, protocol=PROTOCOL, idle_timeout=SMALL, https_redirect=st.booleans()),
    "cluster update": _body({"id": CLUSTERS}, protocol=PROTOCOL, max_idle_connections=SMALL),
    "cluster remove": _body({"id": CLUSTERS}),
    "backend add": _body({"id": CLUSTERS, "address": ADDRESSES}, backend_id=BACKEND["backend-id"], weight=SMALL),
    "backend update": _body(BACKEND, weight=SMALL, address=ADDRESSES),
    "backend remove": _body(BACKEND, address=ADDRESSES, now=st.booleans()),
    "frontend http add": st.one_of(
        _body({**RULE, "cluster": CLUSTERS}, **RULE_OPTIONS, position=st.sampled_from(["PRE", "TREE", "POST"])),
        _body({**RULE, "deny": st.just(True)}, **RULE_OPTIONS, position=st.sampled_from(["PRE", "TREE", "POST"])),
    ),
    "frontend http remove": _body(RULE, **RULE_OPTIONS),
    "frontend https add": _body({**RULE, "cluster": CLUSTERS}, **RULE_OPTIONS, hsts_max_age=SMALL),
    "frontend https remove": _body(RULE, **RULE_OPTIONS),
    "frontend tcp add": _body({"id": CLUSTERS, "address": ADDRESSES}, tags=st.just("k=v")),
    "frontend tcp remove": _body({"address": ADDRESSES}, id=CLUSTERS),
    "listener http add": _body(LISTENER, front_timeout=SMALL, via=st.just("me")),
    "listener https add": _body(LISTENER, via=st.just("me"), hsts_disabled=st.booleans()),
    "listener https update": _body(LISTENER, tls_versions=st.sampled_from([["TLS_V12"], ["TLS_V13"]])),
    "listener tcp add": _body(LISTENER, front_timeout=SMALL),
    "listener update": _body(LISTENER, expect_proxy=st.booleans(), public_address=ADDRESSES, via=st.just("")),
    "listener activate": _body(LISTENER),
    "listener tcp deactivate": _body(LISTENER, deadline=SMALL),
    "listener http remove": _body(LISTENER),
    "listener remove": _body(LISTENER, deadline=SMALL),
    "logging": _body({"filter": st.sampled_from(["info", "debug"])}),
}
ASKED: st.SearchStrategy[Asked] = st.sampled_from(sorted(BODIES)).flatmap(
    lambda verb: st.tuples(st.just(verb), BODIES[verb])
)
SEQUENCES: st.SearchStrategy[list[Asked]] = st.lists(ASKED, max_size=12)

WORLD: list[Asked] = [
    ("cluster add", {"id": "a"}),
    ("cluster add", {"id": "b"}),
    ("listener http add", {"address": "127.0.0.1:1"}),
    ("listener tcp add", {"address": "127.0.0.1:2"}),
    ("listener https add", {"address": "127.0.0.1:3"}),
]
STATES: st.SearchStrategy[State] = st.builds(
    lambda rules, asked: carried_out(EMPTY, [*WORLD, *rules, *asked]),
    st.lists(st.tuples(st.just("frontend http add"), BODIES["frontend http add"]), max_size=5),
    SEQUENCES,
)
"""Any that changes can lead to; often with rules whose order is their meaning."""
