"""Looks change nothing and tell what docs/ctl.md says, member by member."""

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio

from sozu_trio import __version__
from sozu_trio.testing import Client
from tests.main.looking_parts import AskedMain, open_main


@pytest.fixture
async def main(tmp_path: Path) -> AsyncIterator[AskedMain]:
    async with open_main(tmp_path) as asked:
        yield asked


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
            {
                "id": 0,
                "pid": os.getpid(),
                "state": "running",
                "generation": 1,
                "sessions": 0,
                "sandbox": [],
                "unsandboxed": [],
            },
        ],
        "leaving": [],
    }
    main = AskedMain(replace(main.parts, config_path="/etc/proxy.toml"), main.addresses, [])
    await main.apply({"verb": "cluster add", "id": "new"})
    async with main.connect():
        status = await main.ask("status")
    assert (status["main"]["generation"], status["main"]["config"]) == (2, "/etc/proxy.toml")
    assert [(each["generation"], each["sessions"]) for each in status["workers"]] == [(2, 1)]


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
