"""Looks change nothing and tell what docs/ctl.md says, member by member."""

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio import __version__
from sozu_trio.main.events import WAITING, Event
from sozu_trio.testing import Client
from tests.main.looking_parts import AskedMain, open_main

RULE = {"protocol", "address", "hostname", "path", "path_type", "method", "position", "cluster", "tags", "origin"}
BACKEND = {"cluster", "backend_id", "address", "weight", "backup", "origin"}


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


async def test_status(main: AskedMain) -> None:
    status = await main.ask("status")
    assert status["main"].pop("uptime") >= 0
    assert status == {
        "main": {
            "pid": os.getpid(),
            "version": __version__,
            "generation": 1,
            "config": None,
            "command_socket": str(main.parts.config.program.command_socket),
        },
        "workers": [
            {"id": 0, "pid": os.getpid(), "state": "running", "generation": 1, "sessions": 0, "sandbox": []},
        ],
    }
    main = AskedMain(replace(main.parts, config_path="/etc/proxy.toml"), main.addresses, [])
    await add_from_socket(main)
    async with main.connect():
        status = await main.ask("status")
    assert (status["main"]["generation"], status["main"]["config"]) == (2, "/etc/proxy.toml")
    assert [(each["generation"], each["sessions"]) for each in status["workers"]] == [(2, 1)]


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
async def test_there_are_no_certificates_yet(main: AskedMain, body: dict[str, str]) -> None:
    assert await main.ask("certificate list", **body) == {"certificates": []}


async def test_the_tree_of_main_and_its_worker(main: AskedMain) -> None:
    async with main.connect():
        tree = await main.ask("tree")
        sessions = (await main.ask("session list"))["sessions"]
    assert [each["name"].split()[0] for each in tree["main"]["children"]] == ["control", "journal"]
    (worker,) = tree["workers"]
    assert (worker["name"], worker["kind"]) == ("worker 0", "worker")
    listeners = {each["name"]: each for each in worker["children"] if each["kind"] == "listener"}
    connections = listeners[f"listener tcp {main.addresses['http']}"]["children"][-1]
    assert (connections["kind"], connections["count"]) == ("connections", 1)
    (session,) = connections["children"]
    assert [session["name"]] == [each["id"] for each in sessions]
    check_node(tree["main"])
    check_node(worker)


def check_node(node: dict[str, Any]) -> None:
    assert {"name", "kind", "children"} <= node.keys() <= {"name", "kind", "age", "count", "children"}
    assert node.get("age", 0) >= 0
    for each in node["children"]:
        check_node(each)


@pytest.mark.virtual_time
async def test_sessions_the_oldest_first_are_cut_one_by_one(main: AskedMain) -> None:
    async with main.connect() as first:
        await trio.sleep(1)
        async with main.connect() as second:
            await trio.sleep(1)
            async with main.connect() as third:
                await trio.sleep(1)
                await look_and_cut(main, [first, second, third])


async def look_and_cut(main: AskedMain, clients: list[Client]) -> None:
    sessions = (await main.ask("session list"))["sessions"]
    assert [each["age"] for each in sessions] == [3, 2, 1]
    assert [each["client"] for each in sessions] == [str(each.address) for each in clients]
    assert all(each.keys() == {"id", "worker", "listener", "client", "age"} for each in sessions)
    assert {(each["worker"], each["listener"]) for each in sessions} == {(0, str(main.addresses["http"]))}
    assert (await main.ask("session list", limit=2))["sessions"] == sessions[:2]
    killed = sessions[1]["id"]
    assert await main.ask("session kill", session=killed) == {}
    assert await clients[1].receive_all() == b""
    assert (await main.ask("session list"))["sessions"] == [sessions[0], sessions[2]]
    assert await main.refusal("session kill", {"session": killed}) == f"session: there is none {killed!r} (any more)"


@pytest.mark.parametrize(
    ("verb", "body", "said"),
    [
        ("session kill", {"session": "nobody"}, "session: there is none 'nobody' (any more)"),
        ("session kill", {}, "session: missing; want a string"),
        ("session list", {"limit": -1}, "limit: found -1; want an integer from 0"),
        ("cluster list", {"domian": "x"}, "domian: unknown key; did you mean 'domain'?"),
        ("status", {"id": "api"}, "id: unknown key; none is known"),
        ("metrics get", {"names": "http."}, "names: found 'http.'; want an array"),
    ],
)
async def test_bodies_are_read_strictly(main: AskedMain, verb: str, body: dict[str, Any], said: str) -> None:
    assert (await main.refusal(verb, body)).startswith(said)


async def test_metrics(main: AskedMain) -> None:
    async with main.connect() as client:
        assert (await client.get("/", host="nowhere.test")).status == 404
    metrics = await main.ask("metrics get")
    assert metrics["main"]["configuration.generation"] == 1
    assert metrics["main"]["configuration.backends"] == 3
    assert metrics["main"]["process.uptime_seconds"] >= 0
    assert metrics["workers"] == {"0": metrics["total"]}
    assert metrics["total"]["http.requests"] == metrics["total"]["http.status.4xx"] == 1


async def test_metrics_by_the_beginning_of_their_names(main: AskedMain) -> None:
    metrics = await main.ask("metrics get", names=["http.status.2", "configuration.gen", "client.connections"])
    assert metrics == {
        "main": {"configuration.generation": 1},
        "workers": {"0": {"client.connections": 0, "http.status.2xx": 0}},
        "total": {"client.connections": 0, "http.status.2xx": 0},
    }
    assert await main.ask("metrics get", names=["none"]) == {"main": {}, "workers": {"0": {}}, "total": {}}


async def test_events_come_as_they_happen_until_the_proxy_stops(main: AskedMain) -> None:
    answers = []
    async with trio.open_nursery() as nursery:

        async def follow() -> None:
            answers.append(await main.answer("events"))

        nursery.start_soon(follow)
        await wait_all_tasks_blocked()
        ((message, subscribed),) = main.progress
        assert (message, subscribed["kind"], sorted(subscribed)) == ("events", "EVENTS_SUBSCRIBED", ["kind", "time"])
        await main.apply({"verb": "cluster add", "id": "new"})
        main.parts.events.end()
    (_, event) = main.progress[1]
    assert event.pop("time").endswith("Z")
    assert event == {"kind": "CLUSTER_ADDED", "cluster_id": "new"}
    assert [(answer.ok, answer.message) for answer in answers] == [(True, "the proxy has stopped")]


async def test_who_does_not_keep_up_with_events_is_told_so(main: AskedMain) -> None:
    answers = []
    async with trio.open_nursery() as nursery:

        async def follow() -> None:
            answers.append(await main.answer("events"))

        nursery.start_soon(follow)
        await wait_all_tasks_blocked()
        for _ in range(WAITING + 2):
            main.parts.events.tell(Event(kind="TOO_MUCH"))
    # Besides the greeting: as many as may wait, and the first, which did not have to.
    assert len(main.progress) == 2 + WAITING
    assert [(answer.ok, answer.message) for answer in answers] == [
        (False, "dropped: events came faster than they were read")
    ]
