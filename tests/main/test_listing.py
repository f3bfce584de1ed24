"""What there is, listed member by member as docs/ctl.md says, and chosen by what is asked for."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.main.looking_parts import RULE, AskedMain, open_main

BACKEND = {"cluster", "backend_id", "address", "weight", "backup", "max_connections", "origin"}


@pytest.fixture
async def main(tmp_path: Path) -> AsyncIterator[AskedMain]:
    async with open_main(tmp_path) as asked:
        yield asked


async def add_from_socket(main: AskedMain) -> None:
    """A cluster with a rule and a backend, and a rule that denies."""
    rule = {"verb": "frontend http add", "address": str(main.addresses["http"])}
    await main.apply(
        {"verb": "cluster add", "id": "new"},
        {**rule, "hostname": "new.example", "path-equals": "/only", "cluster": "new"},
        {**rule, "hostname": "no.example", "deny": True},
        {"verb": "backend add", "id": "new", "backend-id": "new-1", "address": "127.0.0.1:4"},
    )


async def test_clusters_with_all_that_is_theirs(main: AskedMain) -> None:
    await add_from_socket(main)
    api, relay, new = (await main.ask("cluster list"))["clusters"]
    assert [(each["cluster_id"], each["protocol"], each["origin"]) for each in (api, relay, new)] == [
        ("api", "http", "file"),
        ("relay", "tcp", "file"),
        ("new", None, "socket"),
    ]
    assert api["load_balancing"] == "ROUND_ROBIN"
    assert len(api["frontends"]) == 3
    assert all(each.keys() == RULE for each in api["frontends"])
    assert relay["frontends"] == [
        {
            "protocol": "tcp",
            "address": str(main.addresses["tcp"]),
            "cluster": "relay",
            "tags": {},
            "origin": "file",
        }
    ]
    assert new["backends"] == [
        {
            "cluster": "new",
            "backend_id": "new-1",
            "address": "127.0.0.1:4",
            "weight": 100,
            "backup": False,
            "max_connections": 0,
            "origin": "socket",
        }
    ]


@pytest.mark.parametrize(
    ("body", "ids"),
    [
        ({"id": "relay"}, ["relay"]),
        ({"domain": "api.example"}, ["api"]),
        ({"domain": "API.example."}, ["api"]),
        ({"domain": "new.example"}, ["api", "new"]),
        ({"domain": "new.example/only"}, ["new"]),
        ({"domain": "new.example/on"}, ["new"]),
        ({"domain": "new.example/only/that"}, []),
        ({"domain": "api.example/v1/deep"}, ["api"]),
        ({"domain": "other.example/v7"}, ["api"]),
        ({"domain": "other.example/v77"}, []),
        ({"domain": "*.EXAMPLE"}, ["api"]),
        ({"domain": "nowhere"}, []),
        ({"domain": "no.example/else"}, []),
        ({"domain": ""}, []),
        ({"domain": "not a host!/x"}, []),
        ({"id": "relay", "domain": "api.example"}, None),
    ],
)
async def test_clusters_by_id_and_domain(main: AskedMain, body: dict[str, str], ids: list[str] | None) -> None:
    await add_from_socket(main)
    if ids is None:
        assert await main.refusal("cluster list", body) == "id: there is no cluster 'relay'"
    else:
        assert [each["cluster_id"] for each in (await main.ask("cluster list", **body))["clusters"]] == ids


@pytest.mark.parametrize("verb", ["cluster list", "backend list"])
async def test_a_cluster_that_is_not_there(main: AskedMain, verb: str) -> None:
    assert await main.refusal(verb, {"id": "ap"}) == "id: there is no cluster 'ap'"


async def test_frontends(main: AskedMain) -> None:
    await add_from_socket(main)
    http = str(main.addresses["http"])
    frontends = (await main.ask("frontend list"))["frontends"]
    assert frontends[0] == {
        "protocol": "http",
        "address": http,
        "hostname": "api.example",
        "path": "/v1",
        "path_type": "PREFIX",
        "method": None,
        "position": "TREE",
        "tags": {"owner": "web"},
        "hsts": None,
        "max_body_size": None,
        "cluster": "api",
        "origin": "file",
    }
    assert [(each["hostname"], each["method"], each["position"], each["cluster"]) for each in frontends[1:-1]] == [
        ("api.example", "POST", "PRE", "api"),
        ("*.example", None, "TREE", "api"),
        ("new.example", None, "TREE", "new"),
        ("no.example", None, "TREE", None),
    ]
    assert frontends[-1].keys() == {"protocol", "address", "cluster", "tags", "origin"}


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ({"http": True}, ["api.example", "api.example", "*.example"]),
        ({"tcp": True}, ["relay"]),
        ({"https": True}, []),
        ({"http": True, "tcp": True}, ["api.example", "api.example", "*.example", "relay"]),
        ({"domain": "x.example"}, ["*.example"]),
        ({"domain": "x.example", "tcp": True}, []),
        ({"domain": "nowhere", "http": True}, []),
    ],
)
async def test_frontends_by_protocol_and_domain(main: AskedMain, body: dict[str, Any], found: list[str]) -> None:
    frontends = (await main.ask("frontend list", **body))["frontends"]
    assert [each.get("hostname", each["cluster"]) for each in frontends] == found


async def test_backends_with_what_the_worker_has_met(main: AskedMain) -> None:
    async with main.connect() as client:
        assert (await client.get("/v1", host="api.example")).status == 503
    first, second, relay = (await main.ask("backend list"))["backends"]
    assert all(each.keys() == {*BACKEND, "workers"} for each in (first, second, relay))
    (known,) = first["workers"]
    assert (known["worker"], known["connections"], known["requests"], known["idle"]) == (0, 0, 0, 0)
    assert known["failures"] > 0
    assert known["retry_in"] > 0
    assert (second["backup"], second["weight"]) == (True, 100)
    assert (await main.ask("backend list", id="relay"))["backends"] == [relay]


async def test_a_cluster_without_backends(main: AskedMain) -> None:
    await main.apply({"verb": "cluster add", "id": "new"})
    assert await main.ask("backend list", id="new") == {"backends": []}


async def test_listeners_with_how_many_sessions_they_have(main: AskedMain) -> None:
    await main.apply({"verb": "listener http add", "address": "127.0.0.1:1"})
    async with main.connect():
        http, tcp, new = (await main.ask("listener list"))["listeners"]
        assert [
            (each["protocol"], each["address"], each["active"], each["origin"], each["sessions"])
            for each in (http, tcp, new)
        ] == [
            ("http", str(main.addresses["http"]), True, "file", 1),
            ("tcp", str(main.addresses["tcp"]), True, "file", 0),
            ("http", "127.0.0.1:1", False, "socket", 0),
        ]
        assert {"public_address", "expect_proxy", "front_timeout", "max_head_size"} <= http.keys()
        for body, found in [({"http": True}, [http, new]), ({"tcp": True}, [tcp]), ({"https": True}, [])]:
            assert (await main.ask("listener list", **body))["listeners"] == found


@pytest.mark.parametrize("body", [{}, {"domain": "api.example"}, {"fingerprint": "00"}])
async def test_no_certificates(main: AskedMain, body: dict[str, str]) -> None:
    assert await main.ask("certificate list", **body) == {"certificates": [], "unusable": []}
