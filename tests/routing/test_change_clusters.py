"""Clusters and backends over the socket."""

from collections.abc import Callable
from typing import Any

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster, LoadBalancing, LoadMetric
from sozu_trio.routing.state import EMPTY, State

Changed = Callable[..., State]
Refused = Callable[..., list[str]]

API = ("cluster add", {"id": "api"})
ONE: dict[str, Any] = {"id": "api", "backend-id": "1", "address": "127.0.0.1:1"}


def backend(**fields: Any) -> Backend:
    return Backend(**{"cluster_id": "api", "backend_id": "1", "address": Address("127.0.0.1", 1), **fields})


def test_a_cluster_with_all_its_options(changed: Changed) -> None:
    body = {
        "id": "api",
        "protocol": "tcp",
        "load-balancing-policy": "least_loaded",
        "load-metric": "requests",
        "send-proxy": True,
        "expect-proxy": False,
        "max-idle-connections": 3,
        "idle-timeout": 0.5,
        "max-connections-per-ip": 0,
        "max-connections": 5,
        "max-queue": 6,
        "queue-timeout": 7,
        "max-requests": 8,
        "max-requests-burst": 9,
        "retry-after": 7,
    }
    assert changed(EMPTY, ("cluster add", body)).clusters == {
        "api": Cluster(
            cluster_id="api",
            protocol="tcp",
            load_balancing=LoadBalancing.LEAST_LOADED,
            load_metric=LoadMetric.REQUESTS,
            send_proxy=True,
            max_idle_connections=3,
            idle_timeout=0.5,
            max_connections_per_ip=0,
            max_connections=5,
            max_queue=6,
            queue_timeout=7,
            max_requests=8,
            max_requests_burst=9,
            retry_after=7,
        )
    }


def test_adding_a_cluster_again_sets_what_is_not_said_to_its_default(changed: Changed) -> None:
    before = changed(EMPTY, ("cluster add", {"id": "api", "load-balancing-policy": "RANDOM", "idle-timeout": 1}))
    after = changed(before, ("cluster add", {"id": "api", "idle-timeout": 2}))
    assert after.clusters["api"] == Cluster(cluster_id="api", idle_timeout=2)


def test_updating_a_cluster_keeps_what_is_not_said(changed: Changed) -> None:
    before = changed(EMPTY, ("cluster add", {"id": "api", "load-balancing-policy": "RANDOM", "idle-timeout": 1}))
    after = changed(before, ("cluster update", {"id": "api", "idle-timeout": 2}))
    assert after.clusters["api"] == Cluster(cluster_id="api", load_balancing=LoadBalancing.RANDOM, idle_timeout=2)
    assert changed(after, ("cluster update", {"id": "api"})) == after


@pytest.mark.parametrize("verb", ["add", "update"])
def test_an_http_cluster_sends_no_proxy_header(changed: Changed, verb: str) -> None:
    body = {"id": "api", "protocol": "http", "send-proxy": True}
    assert changed(EMPTY, API, (f"cluster {verb}", body)).clusters["api"].send_proxy is False


def test_removing_a_cluster_leaves_what_leads_to_it(changed: Changed) -> None:
    full = changed(
        EMPTY,
        API,
        ("backend add", ONE),
        ("listener http add", {"address": "127.0.0.1:80"}),
        ("frontend http add", {"address": "127.0.0.1:80", "hostname": "*", "cluster": "api"}),
    )
    without = changed(full, ("cluster remove", {"id": "api"}))
    assert (without.clusters, without.backends) == ({}, full.backends)
    assert without.http_frontends == full.http_frontends
    assert changed(without, API) == full


def test_clusters_that_do_not_exist(changed: Changed, refused: Refused) -> None:
    state = changed(EMPTY, API)
    assert refused(state, ("cluster remove", {"id": "aip"}), ("cluster update", {"id": "zzz"})) == [
        "changes[0].id: found 'aip'; there is no such cluster; did you mean 'api'?",
        "changes[1].id: found 'zzz'; there is no such cluster",
    ]


def test_adding_a_backend_replaces_the_one_of_its_id(changed: Changed) -> None:
    before = changed(EMPTY, API, ("backend add", {**ONE, "weight": 7, "backup": True, "max-connections": 3}))
    assert before.backends == {"api": {"1": backend(weight=7, backup=True, max_connections=3)}}
    after = changed(before, ("backend add", {**ONE, "address": "127.0.0.1:2"}))
    assert after.backends == {"api": {"1": backend(address=Address("127.0.0.1", 2))}}


def test_a_backend_without_a_name_is_the_one_at_its_address_or_gets_a_free_one(changed: Changed) -> None:
    nameless = ("backend add", {"id": "api", "address": "127.0.0.1:1"})
    one = changed(EMPTY, API, nameless)
    assert changed(one, nameless) is one
    heavier = changed(one, (nameless[0], {**nameless[1], "weight": 7}))
    assert [(each.backend_id, each.weight) for each in heavier.backends["api"].values()] == [("api-0-127.0.0.1:1", 7)]
    state = changed(one, ("backend add", {**nameless[1], "backend-id": "api-1-127.0.0.1:1"}))
    assert list(changed(state, nameless).backends["api"])[2:] == ["api-2-127.0.0.1:1"]
    assert list(state.backends["api"]) == ["api-0-127.0.0.1:1", "api-1-127.0.0.1:1"]
    again = changed(state, ("backend remove", {"id": "api", "backend-id": "api-0-127.0.0.1:1"}), nameless)
    assert set(again.backends["api"]) == {"api-1-127.0.0.1:1"}


def test_updating_a_backend_keeps_what_is_not_said(changed: Changed) -> None:
    before = changed(EMPTY, API, ("backend add", {**ONE, "weight": 7}))
    update = {"id": "api", "backend-id": "1", "backup": True}
    assert changed(before, ("backend update", update)).backends["api"]["1"] == backend(weight=7, backup=True)
    moved = changed(before, ("backend update", {"id": "api", "backend-id": "1", "address": "[::1]:2"}))
    assert moved.backends["api"]["1"] == backend(weight=7, address=Address("::1", 2))


def test_the_last_backend_of_a_cluster(changed: Changed) -> None:
    state = changed(EMPTY, API, ("backend add", ONE), ("backend remove", ONE))
    assert state.backends == {}


def test_backends_that_do_not_exist_or_are_elsewhere(changed: Changed, refused: Refused) -> None:
    state = changed(EMPTY, API, ("backend add", {**ONE, "backend-id": "api-1"}))
    assert refused(
        state,
        ("backend remove", {"id": "api", "backend-id": "api-2"}),
        ("backend update", {"id": "x", "backend-id": "api-1"}),
        ("backend remove", {"id": "api", "backend-id": "api-1", "address": "127.0.0.1:9"}),
    ) == [
        "changes[0].backend-id: found 'api-2'; there is no such backend of cluster 'api'; did you mean 'api-1'?",
        "changes[1].backend-id: found 'api-1'; there is no such backend of cluster 'x'",
        "changes[2].address: found '127.0.0.1:9'; backend 'api-1' is at 127.0.0.1:1",
    ]
