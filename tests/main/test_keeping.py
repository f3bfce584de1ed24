"""State as a whole: what is saved can be loaded, what cannot be is told, and then nothing has changed."""

import json
import os
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sozu_trio.config.secrets import REDACTED
from sozu_trio.control import records
from sozu_trio.errors import OperatorError
from sozu_trio.routing.state import with_declared
from tests.main.looking_parts import CONFIG, OWNER, AskedMain, open_main

KINDS = ("listeners", "clusters", "http_frontends", "tcp_frontends", "backends", "certificates")
EMPTY_STATE = {"format": "sozu_trio state", "version": 1}
SOZU_HTTP = {"cluster_id": "old", "sticky_session": False, "https_redirect": False, "load_balancing": 0}
SOZU = [
    {"ADD_CLUSTER": SOZU_HTTP},
    {
        "ADD_BACKEND": {
            "cluster_id": "old",
            "backend_id": "old-0",
            "address": {"ip": {"inner": {"V4": 2130706433}}, "port": 9},
        }
    },
]


def sozu_state(*requests: object) -> str:
    """As Sōzu saves it."""
    return "".join(
        json.dumps({"id": f"SAVE-{number}", "content": {"request_type": each}}) + "\n\0"
        for number, each in enumerate(requests)
    )


def document(**members: object) -> str:
    return json.dumps({**EMPTY_STATE, **members})


def names_in(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


@pytest.fixture
async def main(tmp_path: Path) -> AsyncIterator[AskedMain]:
    async with open_main(tmp_path) as asked:
        yield asked


async def test_stats(main: AskedMain) -> None:
    counts = {"listeners": 2, "clusters": 2, "http_frontends": 3, "tcp_frontends": 1, "backends": 3, "certificates": 0}
    assert await main.ask("state stats") == {**counts, "generation": 1}
    await main.apply({"verb": "cluster add", "id": "more"})
    assert await main.ask("state stats") == {**counts, "clusters": 3, "generation": 2}


async def test_a_dump_has_every_record_and_where_it_comes_from(main: AskedMain) -> None:
    await main.apply({"verb": "cluster add", "id": "more"}, {"verb": "backend add", "id": "api", "address": "[::1]:7"})
    dump = await main.ask("state dump")
    assert list(dump) == ["format", "version", "generation", *KINDS, "settings"]
    assert (dump["format"], dump["version"], dump["generation"]) == ("sozu_trio state", 1, 2)
    assert [(each["cluster_id"], each["origin"]) for each in dump["clusters"]] == [
        *(("api", "file"), ("relay", "file"), ("more", "socket")),
    ]
    assert [(each["cluster_id"], each["backend_id"], each["origin"]) for each in dump["backends"]] == [
        ("api", "api-1", "file"),
        ("api", "api-2", "file"),
        ("api", "api-0-[::1]:7", "socket"),
        ("relay", "relay-1", "file"),
    ]
    assert json.loads(json.dumps(dump)) == dump


async def test_secrets_are_for_the_owner_who_asks_for_them(main: AskedMain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "SECRETS", {"backend_id"})
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    with_secrets = {"with-secrets": True}
    for uid in (0, 1000, 1001):
        dump = (await main.answer("state dump", peer=replace(OWNER, uid=uid))).content
        assert {each["backend_id"] for each in dump["backends"]} == {REDACTED}
    for uid in (0, 1000):
        dump = (await main.answer("state dump", with_secrets, peer=replace(OWNER, uid=uid))).content
        assert [each["backend_id"] for each in dump["backends"]] == ["api-1", "api-2", "relay-1"]
    with pytest.raises(OperatorError, match=r"with-secrets: only the owner of the proxy .* not uid 1001"):
        await main.answer("state dump", with_secrets, peer=replace(OWNER, uid=1001))


async def test_what_is_saved_can_be_loaded(main: AskedMain, tmp_path: Path) -> None:
    file = tmp_path / "saved"
    file.write_text(document())
    with main.parts.events.listen() as events:
        assert await main.ask("state save", file=str(file)) == {"path": str(file), "objects": 11, "generation": 1}
        told = await events.receive()
    assert (told["kind"], told["details"]) == ("STATE_SAVED", str(file))
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert names_in(tmp_path) == ["journal", "saved"]
    before = main.parts.transactions.state
    await main.apply({"verb": "cluster remove", "id": "api"}, {"verb": "logging", "filter": "error"})
    for given in ({"file": str(file)}, {"content": file.read_text()}):
        loaded = await main.ask("state load", **given)
        assert loaded == {"generation": 3, "objects": 11, "skipped": []}
        state = main.parts.transactions.state
        assert {key: state.clusters[key] for key in before.clusters} == dict(before.clusters)
        assert (state.backends, state.settings) == (before.backends, before.settings)
    assert (await main.ask("history"))["generations"][0]["what"] == f"state load: 11 objects from {file}"


async def test_a_save_has_the_secrets(main: AskedMain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(records, "SECRETS", {"backend_id"})
    await main.ask("state save", file=str(tmp_path / "saved"))
    assert REDACTED not in (tmp_path / "saved").read_text()


async def test_a_save_goes_to_saved_state_by_default(main: AskedMain, tmp_path: Path) -> None:
    assert await main.refusal("state save") == (
        "file: missing; want an absolute path, as the configuration has no saved_state"
    )
    async with open_other(tmp_path, 'saved_state = "state"\n') as other:
        assert (await other.ask("state save"))["path"] == str(tmp_path / "other" / "state")


@asynccontextmanager
async def open_other(tmp_path: Path, before: str) -> AsyncIterator[AskedMain]:
    (tmp_path / "other").mkdir()
    async with open_main(tmp_path / "other", before + CONFIG) as other:
        yield other


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("saved", "file: found 'saved'; want an absolute path"),
        ("", "file: found ''; want an absolute path"),
        ("/a\0b", "file: found '/a\\x00b'; want an absolute path"),
        ("$/none/saved", "cannot save to $/none/saved: No such file or directory"),
        ("$", "file: $ is no regular file; want a saved state to replace, or nothing there"),
        (7, "file: found 7; want a string"),
    ],
)
async def test_where_nothing_can_be_saved(main: AskedMain, tmp_path: Path, file: str | int, said: str) -> None:
    where = file.replace("$", str(tmp_path / "d")) if isinstance(file, str) else file
    (tmp_path / "d").mkdir()
    assert await main.refusal("state save", {"file": where}) == said.replace("$", str(tmp_path / "d"))
    assert names_in(tmp_path) == ["d", "journal"]


async def test_a_save_that_fails_leaves_what_was_there(
    main: AskedMain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "saved"
    file.write_text(document())

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    assert await main.refusal("state save", {"file": str(file)}) == f"cannot save to {file}: No space left on device"
    assert file.read_text() == document()
    assert names_in(tmp_path) == ["journal", "saved"]


async def test_a_load_comes_on_top_and_counts_as_born_over_the_socket(main: AskedMain) -> None:
    content = document(
        clusters=[
            {"cluster_id": "api", "protocol": "http", "idle_timeout": 5},
            {"cluster_id": "new", "origin": "file"},
        ],
        backends=[{"cluster_id": "new", "backend_id": "b", "address": "127.0.0.1:5", "origin": "file"}],
    )
    with main.parts.events.listen() as events:
        loaded = await main.ask("state load", content=content)
        kinds = [(await events.receive())["kind"] for _ in range(events.waiting)]
    assert kinds.count("STATE_LOADED") == 1
    assert loaded == {"generation": 2, "objects": 3, "skipped": []}
    clusters = {each["cluster_id"]: each for each in (await main.ask("cluster list"))["clusters"]}
    assert [(name, each["origin"]) for name, each in clusters.items()] == [
        *(("api", "file"), ("relay", "file"), ("new", "socket")),
    ]
    assert clusters["api"]["idle_timeout"] == 5
    assert len(clusters["api"]["backends"]) == 2
    assert clusters["new"]["backends"][0]["origin"] == "socket"


async def test_what_is_there_already_makes_no_generation(main: AskedMain) -> None:
    content = json.dumps(await main.ask("state dump"))
    assert await main.ask("state load", content=content) == {"generation": 1, "objects": 11, "skipped": []}


async def test_sozus_state(main: AskedMain) -> None:
    assert await main.ask("state load", content=sozu_state(*SOZU)) == {"generation": 2, "objects": 2, "skipped": []}
    (cluster,) = (await main.ask("cluster list", id="old"))["clusters"]
    assert (cluster["load_balancing"], cluster["origin"]) == ("ROUND_ROBIN", "socket")
    assert [each["address"] for each in cluster["backends"]] == ["127.0.0.1:9"]


async def test_what_is_not_understood_is_left_out_only_if_that_was_asked_for(main: AskedMain) -> None:
    content = sozu_state(*SOZU, {"TURN_INTO_A_PUMPKIN": {}}, {"ADD_CLUSTER": {**SOZU_HTTP, "cluster_id": 7}})
    refusal = await main.refusal("state load", {"content": content})
    assert [line.partition("]")[0] for line in refusal.split("\n")] == ["records[2", "records[3"]
    assert await main.ask("state stats") == await unchanged(main)
    loaded = await main.ask("state load", content=content, skip_unknown=True)
    assert (loaded["generation"], loaded["objects"]) == (2, 2)
    assert loaded["skipped"] == refusal.split("\n")


async def unchanged(main: AskedMain) -> dict[str, Any]:
    """The stats of a main in which nothing has changed yet."""
    state = main.parts.transactions.state
    assert state.declared is not None
    assert state == with_declared(state.declared, state.declared)
    return {**await main.ask("state stats"), "generation": 1}


BAD_RULE = {"hostname": "/(/.example", "address": "127.0.0.1:80", "cluster_id": "api"}
BAD_PATH = {"hostname": "a.example", "path": "(", "path_type": "REGEX", "address": "127.0.0.1:80", "cluster_id": "api"}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", ["no saved state: not JSON: Expecting property name enclosed in double quotes at character 2"]),
        ("[]", ['no saved state: want one that `state save` wrote, with "format": "sozu_trio state"']),
        (json.dumps({"format": "sozu_trio state", "version": 2}), ["version: found 2; want 1"]),
        (
            document(
                clusters=[{"cluster_id": 7}, {}], backends=[{"cluster_id": "a", "backend_id": "b", "address": "x"}]
            ),
            ["clusters[0].cluster_id: found 7", "clusters[1].cluster_id: missing", "backends[0].address: found 'x'"],
        ),
        (
            document(http_frontends=[BAD_RULE, BAD_PATH]),
            [
                "http_frontends[0].hostname: '/(/.example' is not a host: '(' is not a regex",
                "http_frontends[1].path: '(' is not a regex",
            ],
        ),
        (
            document(clusters=[{"cluster_id": "api", "protocol": "tcp"}, {"cluster_id": "relay", "protocol": "http"}]),
            [
                "http frontend api.example/v1 at $http: found 'api', a tcp cluster; want one that speaks http",
                "http frontend POST api.example/v1 at $http: found 'api', a tcp cluster; want one that speaks http",
                "http frontend *.example/v[0-9] (regex) at $http: found 'api', a tcp cluster; want one that",
                "tcp frontend at $tcp: found 'relay', an http cluster; want one that speaks tcp",
            ],
        ),
        (
            document(settings={"log_level": "info,x=loud"}),
            ["settings.log_level: log directives 'x=loud': 'loud' is not a level"],
        ),
    ],
)
async def test_a_load_that_does_not_fit_is_refused_with_every_problem(
    main: AskedMain, content: str, said: list[str]
) -> None:
    lines = (await main.refusal("state load", {"content": content})).split("\n")
    assert len(lines) == len(said)
    for line, expected in zip(lines, said, strict=True):
        for name, address in main.addresses.items():
            expected = expected.replace(f"${name}", str(address))
        assert line.startswith(expected)
    assert await main.ask("state stats") == await unchanged(main)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "content: missing; want the text of a saved state, or file: its path"),
        ({"content": "x", "file": "/x"}, "file: found '/x' and content; want only one of both"),
        ({"file": "saved"}, "file: found 'saved'; want an absolute path"),
        ({"file": "/a\0"}, "file: found '/a\\x00'; want an absolute path"),
        ({"file": "/nowhere/saved"}, "file: cannot read /nowhere/saved: No such file or directory"),
        ({"file": "/"}, "file: cannot read /: Is a directory"),
        ({"file": "/dev/zero"}, "file: cannot read /dev/zero: it is no regular file"),
    ],
)
async def test_nothing_to_load(main: AskedMain, body: dict[str, str], said: str) -> None:
    assert await main.refusal("state load", body) == said


async def test_a_pipe_that_nobody_writes_to_holds_up_nothing(main: AskedMain, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert (await main.refusal("state load", {"file": str(tmp_path / "pipe")})).endswith("pipe: it is no regular file")


async def test_a_file_may_begin_with_a_byte_order_mark(main: AskedMain, tmp_path: Path) -> None:
    (tmp_path / "saved").write_text(document(clusters=[{"cluster_id": "new"}]), encoding="utf-8-sig")
    assert (await main.ask("state load", file=str(tmp_path / "saved")))["objects"] == 1


async def test_a_file_is_loaded_however_large(main: AskedMain, tmp_path: Path) -> None:
    clusters = [{"cluster_id": f"c{number}", "protocol": "http"} for number in range(30)]
    padding = " " * main.parts.config.program.max_command_buffer_size
    (tmp_path / "saved").write_text(document(clusters=clusters) + padding)
    assert (await main.ask("state load", file=str(tmp_path / "saved")))["objects"] == 30
