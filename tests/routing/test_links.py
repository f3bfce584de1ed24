"""What must fit when all changes of a transaction are made."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sozu_trio.routing.state import EMPTY, State

Changed = Callable[..., State]
Refused = Callable[..., list[str]]
Asked = tuple[str, dict[str, Any]]

WEB, MAIL = {"address": "127.0.0.1:80"}, {"address": "127.0.0.1:25"}
HTTP, TCP = ("listener http add", WEB), ("listener tcp add", MAIL)
RULE = ("frontend http add", {**WEB, "hostname": "a.example", "cluster": "api"})
PORT = ("frontend tcp add", {**MAIL, "id": "api"})
BACKEND = ("backend add", {"id": "api", "backend-id": "1", "address": "127.0.0.1:1"})


def cluster(protocol: str | None = None, verb: str = "add") -> Asked:
    return f"cluster {verb}", {"id": "api", **({"protocol": protocol} if protocol else {})}


def test_order_within_a_transaction_does_not_matter(changed: Changed) -> None:
    there = changed(EMPTY, RULE, PORT, BACKEND, HTTP, TCP, cluster())
    assert there == changed(EMPTY, cluster(), TCP, HTTP, BACKEND, PORT, RULE)


def test_everything_that_leads_nowhere_is_told(refused: Refused) -> None:
    assert refused(EMPTY, RULE, PORT, BACKEND, ("backend add", {"id": "apu", "address": "127.0.0.1:1"})) == [
        "changes[0].address: found '127.0.0.1:80'; there is no listener",
        "changes[0].cluster: found 'api'; there is no such cluster",
        "changes[1].address: found '127.0.0.1:25'; there is no listener",
        "changes[1].id: found 'api'; there is no such cluster",
        "changes[2].id: found 'api'; there is no such cluster",
        "changes[3].id: found 'apu'; there is no such cluster",
    ]


def test_what_was_removed_again_need_not_fit(changed: Changed) -> None:
    rule = {name: value for name, value in RULE[1].items() if name != "cluster"}
    removed = [("frontend http remove", rule), ("frontend tcp remove", MAIL), ("backend remove", BACKEND[1])]
    assert changed(EMPTY, RULE, PORT, BACKEND, *removed) == EMPTY


def test_a_cluster_removed_in_the_same_transaction(changed: Changed, refused: Refused) -> None:
    state = changed(EMPTY, cluster())
    assert refused(state, BACKEND, ("cluster remove", {"id": "api"})) == [
        "changes[0].id: found 'api'; there is no such cluster"
    ]


def test_a_rule_that_denies_needs_no_cluster(changed: Changed) -> None:
    changed(EMPTY, HTTP, ("frontend http add", {**WEB, "hostname": "*", "deny": True}))


def test_listeners_and_clusters_of_the_other_kind(changed: Changed, refused: Refused) -> None:
    state = changed(EMPTY, HTTP, TCP, cluster("tcp"), ("cluster add", {"id": "web", "protocol": "http"}))
    assert refused(state, (RULE[0], {**RULE[1], **MAIL}), (PORT[0], {"id": "web", **WEB})) == [
        "changes[0].address: found '127.0.0.1:25', a tcp listener; want one that speaks http",
        "changes[0].cluster: found 'api', a tcp cluster; want one that speaks http",
        "changes[1].address: found '127.0.0.1:80', an http listener; want one that speaks tcp",
        "changes[1].id: found 'web', an http cluster; want one that speaks tcp",
    ]


@pytest.mark.parametrize("verb", ["add", "update"])
def test_a_cluster_that_speaks_otherwise_than_its_frontends(changed: Changed, refused: Refused, verb: str) -> None:
    both = changed(EMPTY, HTTP, TCP, cluster(), RULE, PORT)
    http = "found 'tcp'; the http frontend a.example at 127.0.0.1:80 leads to it; want 'http', or its frontends removed"
    tcp = "found 'http'; the tcp frontend at 127.0.0.1:25 leads to it; want 'tcp', or its frontends removed"
    assert refused(both, cluster("tcp", verb)) == [f"changes[0].protocol: {http}"]
    assert refused(both, cluster("http", verb)) == [f"changes[0].protocol: {tcp}"]
    changed(both, cluster("http", verb), ("frontend tcp remove", MAIL))
    changed(both, cluster("tcp", verb), cluster())


def test_a_cluster_that_comes_back_as_another(changed: Changed, refused: Refused) -> None:
    waiting = changed(changed(EMPTY, HTTP, cluster("http"), RULE), ("cluster remove", {"id": "api"}))
    assert refused(waiting, cluster("tcp"))[0].startswith("changes[0].protocol: found 'tcp'; the http frontend")
    changed(waiting, cluster("http"))


def test_a_listener_that_comes_back_as_another(changed: Changed, refused: Refused) -> None:
    full = changed(EMPTY, HTTP, TCP, cluster(), RULE, PORT)
    other = [("listener remove", WEB), ("listener remove", MAIL)]
    other += [("listener tcp add", WEB), ("listener http add", MAIL)]
    assert refused(full, *other) == [
        "changes[2].address: found 127.0.0.1:80; the http frontend a.example at 127.0.0.1:80 is there; "
        "want an http listener there, or its frontends removed",
        "changes[3].address: found 127.0.0.1:25; the tcp frontend at 127.0.0.1:25 is there; "
        "want a tcp listener there, or its frontends removed",
    ]
    assert changed(full, ("listener remove", WEB), HTTP) == full


def test_one_frontend_is_named_for_all(changed: Changed, refused: Refused) -> None:
    state = changed(EMPTY, HTTP, cluster(), RULE, (RULE[0], {**RULE[1], "hostname": "b.example"}))
    assert len(refused(state, cluster("tcp"))) == 1


def test_what_the_file_left_crosswise_is_not_the_fault_of_others(changed: Changed) -> None:
    """As after a reload whose file made a tcp cluster of one that rules from the socket lead to."""
    state = changed(EMPTY, HTTP, cluster(), RULE)
    crosswise = replace(state, clusters={"api": replace(state.clusters["api"], protocol="tcp")})
    changed(crosswise, BACKEND, ("cluster update", {"id": "api", "idle-timeout": 3}), ("listener activate", WEB))
