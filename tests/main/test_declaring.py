"""The proxy is made what a file says, or what it was: wholly, and only where something is different."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.load import load_config
from sozu_trio.errors import ConfigError
from sozu_trio.main.declared import declared_by
from tests.main.declared_parts import OVER_THE_SOCKET, WEB, WITHOUT_RELAY, equals_the_file, origins
from tests.main.looking_parts import AskedMain
from tests.main.running import GLOBALS, HTTP, SERVICES, TCP, nothing_changes, objects, running, told_by_main, write


@pytest.fixture
async def main(tmp_path: Path) -> AsyncIterator[AskedMain]:
    async with running(write(tmp_path)) as asked:
        yield asked


async def test_a_reload_of_the_same_file_is_no_change(main: AskedMain) -> None:
    with main.parts.events.listen() as events:
        answer = await main.answer("reload")
        assert events.receive_nowait()["kind"] == "CONFIGURATION_RELOADED"
    nothing: dict[str, list[str]] = {"added": [], "changed": [], "removed": [], "moved": [], "notices": []}
    assert answer.content == {"generation": 1, **nothing}
    assert answer.message == f"{main.parts.config_path}: 0 added, 0 changed, 0 removed"
    assert main.parts.journal.history.entries == ()


async def test_a_reload_makes_the_proxy_what_the_file_says(main: AskedMain, tmp_path: Path) -> None:
    text = GLOBALS + 'log_level = "warn"\n' + WITHOUT_RELAY.replace("weight = 50", "weight = 60") + WEB
    file = write(tmp_path, text)
    with main.parts.events.listen() as events:
        answer = await main.answer("reload")
        told = told_by_main(events)
    assert answer.content == {
        "generation": 2,
        "added": ["cluster web", f"frontend web.example at {HTTP}", "backend web/web-1"],
        "changed": ["backend api/api-1", "settings global keys"],
        "removed": ["cluster relay", f"frontend {TCP}", "backend relay/relay-1"],
        "moved": [],
        "notices": [],
    }
    assert equals_the_file(main, file)
    assert {each["kind"] for each in told} >= {"CLUSTER_REMOVED", "CLUSTER_ADDED", "LOGGING_LEVEL_CHANGED"}
    (reloaded,) = (each for each in told if each["kind"] == "CONFIGURATION_RELOADED")
    assert reloaded["details"] == str(file)
    (entry,) = main.parts.journal.history.entries
    assert (entry.generation, entry.what, entry.process) == (2, f"reload {file}", "test")


async def test_what_came_over_the_socket_stays_and_what_is_the_files_is_as_the_file_says(
    main: AskedMain, tmp_path: Path
) -> None:
    await main.apply(*OVER_THE_SOCKET)
    write(tmp_path, GLOBALS + WITHOUT_RELAY + WEB)
    await main.ask("reload")
    assert objects(main) == {
        "listeners": [HTTP, TCP, "127.0.0.1:8090"],
        "clusters": ["api", "web", "new"],
        "frontends": ["api.example/v1", "web.example", "new.example"],
        "backends": ["api-1", "relay-2", "new-1", "web-1"],
    }
    state = main.parts.transactions.state
    assert state.backends["api"]["api-1"].weight == 50
    file_born = dict.fromkeys(["api", "web", "api-1", "web-1"], "file")
    assert origins(main) == file_born | dict.fromkeys(["new", "relay-2", "new-1"], "socket")


async def test_prune_leaves_only_the_file(main: AskedMain, tmp_path: Path) -> None:
    await main.apply(*OVER_THE_SOCKET)
    answer = await main.ask("reload", prune=True)
    assert equals_the_file(main, tmp_path / "proxy.toml")
    assert sorted(answer["removed"]) == sorted(
        [
            "listener 127.0.0.1:8090",
            "cluster new",
            f"frontend new.example at {HTTP}",
            "backend new/new-1",
            "backend relay/relay-2",
        ]
    )
    assert (answer["added"], answer["changed"]) == ([f"frontend {TCP}"], ["backend api/api-1"])
    assert main.parts.journal.history.entries[-1].what.endswith(" --prune")


async def test_what_the_file_declares_from_now_on_is_the_files(main: AskedMain, tmp_path: Path) -> None:
    """Nothing else is different, so nothing is told as added or changed; but the next file without it removes it."""
    await main.ask("cluster add", id="web", protocol="http")
    await main.ask("frontend http add", address=HTTP, hostname="web.example", cluster="web")
    await main.ask("backend add", id="web", address="127.0.0.1:7", backend_id="web-1")
    state = main.parts.transactions.state
    assert origins(main)["web"] == "socket"
    write(tmp_path, GLOBALS + SERVICES + WEB)
    plan = await main.ask("plan")
    assert [(each["action"], each["kind"]) for each in plan["changes"]] == [("change", "declaration")]
    assert plan["changes"][0]["name"] == "3 records that the file declares from now on, or no longer"
    answer = await main.ask("reload")
    assert (answer["generation"], answer["added"], answer["changed"], answer["removed"]) == (5, [], [], [])
    assert origins(main)["web"] == "file"
    assert replace(main.parts.transactions.state, declared=None) == replace(state, declared=None)
    write(tmp_path)
    assert (await main.ask("reload"))["removed"][0] == "cluster web"
    assert "web" not in main.parts.transactions.state.clusters


@pytest.mark.parametrize("verb", ["reload", "plan"])
async def test_another_file(main: AskedMain, tmp_path: Path, verb: str) -> None:
    (tmp_path / "other").mkdir()
    other = write(tmp_path / "other", GLOBALS + SERVICES + WEB)
    answer = await main.answer(verb, {"file": str(other)})
    assert answer.message.startswith(f"{other}: ")
    assert answer.content["notices"][-1].startswith("saved_state: ")
    assert ("web" in main.parts.transactions.state.clusters) is (verb == "reload")


@pytest.mark.parametrize("verb", ["reload", "plan"])
async def test_keys_that_need_a_new_start_are_told(main: AskedMain, tmp_path: Path, verb: str) -> None:
    write(tmp_path, "shutdown_timeout = 9\n" + GLOBALS + SERVICES)
    content = await main.ask(verb)
    assert content["notices"] == [
        "shutdown_timeout: 9 instead of 30 takes effect at the next start or upgrade",
    ]
    assert content["generation"] == 1
    assert main.parts.config.program.shutdown_timeout == 30
    assert (await main.ask(verb))["notices"] == content["notices"]


@pytest.mark.parametrize("verb", ["reload", "plan"])
async def test_more_connections_than_descriptors_suffice_for_are_refused(
    main: AskedMain, tmp_path: Path, verb: str
) -> None:
    write(tmp_path, f"max_connections = {1 << 31}\n" + GLOBALS + SERVICES)
    with pytest.raises(ConfigError, match=rf"max_connections: found {1 << 31}, which takes .* may have"):
        await main.ask(verb)
    assert main.parts.transactions.generation == 1


@pytest.mark.parametrize("verb", ["reload", "plan"])
async def test_a_file_that_cannot_be_used_changes_nothing_and_every_error_is_told(
    main: AskedMain, tmp_path: Path, verb: str
) -> None:
    file = write(tmp_path, "worker_count = -1\n" + SERVICES + WEB.replace('"http"', '"gopher"') + "[clusters.x]\n")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    with nothing_changes(main):
        lines = (await main.refusal(verb)).split("\n")
    assert lines == [f"{file}: {problem}" for problem in caught.value.problems]
    assert len(lines) >= 3
    file.unlink()
    with nothing_changes(main):
        assert await main.refusal(verb) == f"{file}: cannot be read: No such file or directory"
    with nothing_changes(main):
        assert sorted((await main.refusal(verb, {"file": 7, "prun": True})).split("\n")) == [
            "file: found 7; want a string",
            "prun: unknown key; did you mean 'prune'?",
        ]


@pytest.mark.parametrize("verb", ["reload", "plan"])
async def test_there_is_nothing_to_read_again_without_a_file(main: AskedMain, verb: str) -> None:
    without = AskedMain(replace(main.parts, config_path=None), {}, [])
    with nothing_changes(main):
        assert "serve was started without a file" in await without.refusal(verb)
    assert (await without.ask(verb, file=main.parts.config_path))["generation"] == 1


async def test_a_plan_is_what_a_reload_does_and_changes_nothing(main: AskedMain, tmp_path: Path) -> None:
    with nothing_changes(main):
        answer = await main.answer("plan")
    assert answer.message.endswith("proxy.toml: no difference")
    assert answer.content == {"generation": 1, "difference": False, "changes": [], "notices": []}
    await main.apply(*OVER_THE_SOCKET)
    write(tmp_path, GLOBALS + WITHOUT_RELAY + WEB)
    with nothing_changes(main):
        answer = await main.answer("plan", {"prune": True})
    changes = answer.content["changes"]
    assert answer.message.endswith(f": {len(changes)} differences")
    assert (answer.content["generation"], answer.content["difference"]) == (2, True)
    assert all(each.keys() == {"action", "kind", "name", "fields"} for each in changes)
    told: dict[str, list[str]] = {"add": [], "change": [], "remove": []}
    for each in changes:
        told[each["action"]].append(f"{each['kind']} {each['name']}")
    done = await main.ask("reload", prune=True)
    assert told == {"add": done["added"], "change": done["changed"], "remove": done["removed"]}
    assert (await main.ask("plan"))["difference"] is False


async def test_a_plan_says_what_was_and_what_would_be(main: AskedMain, tmp_path: Path) -> None:
    text = GLOBALS + 'log_level = "warn"\n' + SERVICES.replace("weight = 50", "weight = 60") + WEB
    write(tmp_path, text)
    steps = {
        f"{each['action']} {each['kind']} {each['name']}": each["fields"]
        for each in (await main.ask("plan"))["changes"]
    }
    assert steps["change backend api/api-1"] == {"weight": [50, 60]}
    assert steps["change settings global keys"] == {"log_level": ["info", "warn"]}
    added = steps["add backend web/web-1"]
    assert (added["cluster_id"], added["address"]) == ([None, "web"], [None, "127.0.0.1:7"])
    assert len(steps) == 5


async def test_rules_that_change_places_are_told(main: AskedMain, tmp_path: Path) -> None:
    """The order of regular expressions is their meaning."""
    rules = [f'{{ address = "{HTTP}", hostname = "h", path = "/{each}", path_type = "REGEX" }}' for each in "ab"]
    first, second = (
        GLOBALS + SERVICES + WEB.replace("frontends = [", f"frontends = [{', '.join(each)}, ")
        for each in (rules, rules[::-1])
    )
    write(tmp_path, first)
    await main.ask("reload")
    file = write(tmp_path, second)
    (change,) = (await main.ask("plan"))["changes"]
    assert change == {
        "action": "move",
        "kind": "frontend",
        "name": f"h/b (regex) at {HTTP}",
        "fields": {"after": ["h/a (regex)", None]},
    }
    answer = await main.answer("reload")
    assert answer.message == f"{file}: 0 added, 0 changed, 0 removed, 1 moved"
    assert answer.content["moved"] == [f"frontend h/b (regex) at {HTTP}"]
    assert list(main.parts.transactions.state.http_frontends) == list(declared_by(load_config(file)).http_frontends)


SOCKET_BORN: tuple[dict[str, Any], ...] = (
    {"verb": "listener http add", "address": "127.0.0.1:8090"},
    {"verb": "cluster add", "id": "web"},
    {"verb": "frontend http add", "address": HTTP, "hostname": "a.example", "cluster": "web"},
    {
        "verb": "frontend http add",
        "address": "127.0.0.1:8090",
        "hostname": "b.example",
        "path-equals": "/b",
        "deny": True,
    },
    {"verb": "frontend http remove", "address": HTTP, "hostname": "api.example", "path-prefix": "/v1"},
)
OTHERWISE = """
[[listeners]]
protocol = "tcp"
address = "127.0.0.1:8090"
[clusters.web]
protocol = "tcp"
frontends = [{ address = "127.0.0.1:8090" }]
"""
"""Of the listener and the cluster that SOCKET_BORN has added."""


@pytest.mark.parametrize("verb", ["reload", "plan"])
async def test_a_file_that_what_came_over_the_socket_does_not_fit_is_refused(
    main: AskedMain, tmp_path: Path, verb: str
) -> None:
    await main.apply(*SOCKET_BORN)
    file = write(tmp_path, GLOBALS + SERVICES + OTHERWISE)
    out = "or this frontend removed, as reload --prune does"
    with nothing_changes(main):
        assert (await main.refusal(verb)).split("\n") == [
            f"http frontend a.example at {HTTP}, added over the socket: "
            f"found 'web', a tcp cluster; want one that speaks http, {out}",
            "http frontend b.example/b (equals) at 127.0.0.1:8090, added over the socket: "
            f"found a tcp listener there; want one that speaks http, {out}",
        ]
    assert (await main.ask(verb, prune=True))["notices"] == []
    await main.ask("reload", prune=True)
    assert equals_the_file(main, file)


async def test_the_number_of_workers_follows_the_file(main: AskedMain, tmp_path: Path) -> None:
    write(tmp_path, GLOBALS.replace("worker_count = 1", "worker_count = 3") + SERVICES)
    plan = await main.ask("plan")
    step = {"action": "change", "kind": "worker_count", "name": "3", "fields": {"worker_count": [1, 3]}}
    assert (plan["difference"], plan["changes"], plan["notices"]) == (True, [step], [])
    assert len(main.parts.supervisor.workers) == 1
    assert (await main.ask("reload"))["changed"] == ["worker_count 3"]
    assert [each.state for each in main.parts.supervisor.workers] == ["running"] * 3
    assert not (await main.ask("plan"))["difference"]
    write(tmp_path)
    assert (await main.ask("reload"))["changed"] == ["worker_count 1"]
    while len(main.parts.supervisor.workers) > 1:
        await wait_all_tasks_blocked()
    assert [each.id for each in main.parts.supervisor.workers] == [0]
