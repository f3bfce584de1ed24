"""Every change over the control socket is made wholly, and said so, or not at all, with every reason."""

import logging
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend
from sozu_trio.config.unbuilt import VERBS
from sozu_trio.errors import ChangeRefused
from sozu_trio.main.changing import HANDLERS, MANY
from sozu_trio.main.summaries import summary
from sozu_trio.nursery.bind import bound_address, open_listening_socket
from sozu_trio.routing.changes import CHANGE_VERBS
from tests.addresses import free_address
from tests.main.looking_parts import AskedMain
from tests.main.running import HTTP, TCP, nothing_changes, objects, running, told_by_main, write
from tests.tls.parts import issue

RULE = {"address": HTTP, "hostname": "api.example", "path-prefix": "/v1"}
NEW = "127.0.0.1:8081"
ISSUED = issue("api.example", begin=time.time() - 1000, end=time.time() + 86400)

PEM = {"$pem": ISSUED.pem.decode(), "$key": ISSUED.key_pem.decode()}
CHANGES: list[tuple[str, dict[str, Any], str]] = [
    ("cluster add", {"id": "new", "load-balancing-policy": "random"}, "CLUSTER_ADDED"),
    ("cluster update", {"id": "api", "idle-timeout": 5}, "CLUSTER_UPDATED"),
    ("cluster remove", {"id": "relay"}, "CLUSTER_REMOVED"),
    ("backend add", {"id": "api", "address": "127.0.0.1:2"}, ""),
    ("backend update", {"id": "api", "backend-id": "api-1", "weight": 7}, ""),
    ("backend remove", {"id": "api", "backend-id": "api-1", "now": True}, ""),
    ("frontend http add", {**RULE, "deny": True, "method": "DELETE"}, "FRONTEND_ADDED"),
    ("frontend http remove", RULE, "FRONTEND_REMOVED"),
    ("frontend tcp add", {"id": "relay", "address": "$free"}, "FRONTEND_ADDED"),
    ("frontend tcp remove", {"address": TCP}, "FRONTEND_REMOVED"),
    ("listener http add", {"address": NEW, "max-fields": 7}, "LISTENER_ADDED"),
    ("listener http update", {"address": HTTP, "front-timeout": 7}, "LISTENER_UPDATED"),
    ("listener http activate", {"address": "$free"}, "LISTENER_ACTIVATED"),
    ("listener http deactivate", {"address": "$busy"}, "LISTENER_DEACTIVATED"),
    ("listener http remove", {"address": HTTP}, "LISTENER_REMOVED"),
    ("listener https add", {"address": NEW, "tls-versions": ["TLS_V13"]}, "LISTENER_ADDED"),
    ("listener https update", {"address": "$free", "hsts-max-age": 7}, "LISTENER_UPDATED"),
    ("listener https remove", {"address": "$free"}, "LISTENER_REMOVED"),
    ("frontend https add", {**RULE, "address": "$free", "cluster": "api"}, "FRONTEND_ADDED"),
    ("frontend https remove", RULE, "FRONTEND_REMOVED"),
    ("certificate add", {"address": "$free", "certificate": "$pem", "key": "$key"}, "CERTIFICATE_ADDED"),
    ("listener tcp add", {"address": NEW}, "LISTENER_ADDED"),
    ("listener tcp update", {"address": TCP, "back-timeout": 7}, "LISTENER_UPDATED"),
    ("listener tcp activate", {"address": "$free"}, "LISTENER_ACTIVATED"),
    ("listener tcp deactivate", {"address": "$busy", "deadline": 0}, "LISTENER_DEACTIVATED"),
    ("listener tcp remove", {"address": TCP, "deadline": 3}, "LISTENER_REMOVED"),
    ("listener update", {"address": TCP, "front-timeout": 7}, "LISTENER_UPDATED"),
    ("listener activate", {"address": "$free"}, "LISTENER_ACTIVATED"),
    ("listener deactivate", {"address": "$busy"}, "LISTENER_DEACTIVATED"),
    ("listener remove", {"address": TCP}, "LISTENER_REMOVED"),
    ("logging", {"filter": "warn,sozu_trio.main=debug"}, "LOGGING_LEVEL_CHANGED"),
]
"""Verb, body, and the event that tells of it. `$free` and `$busy` stand for a listener, inactive or active."""


@pytest.fixture
async def main(tmp_path: Path) -> AsyncIterator[AskedMain]:
    async with running(write(tmp_path)) as asked:
        yield asked


@pytest.fixture
def free() -> str:
    """An address nobody listens at."""
    return str(free_address())


def generations(main: AskedMain) -> list[tuple[int, str]]:
    return [(entry.generation, entry.what) for entry in main.parts.journal.history.entries]


async def refused(main: AskedMain, *changes: Any) -> list[str]:
    """Everything that is wrong with that batch, which leaves no trace."""
    with nothing_changes(main), pytest.raises(ChangeRefused) as caught:
        await main.answer("apply", {"changes": list(changes)})
    return [str(problem) for problem in caught.value.problems]


def test_every_verb_that_changes_something_is_answered() -> None:
    assert set(HANDLERS) == {*CHANGE_VERBS, "apply"}


@pytest.mark.parametrize(("verb", "body", "event"), CHANGES, ids=[verb for verb, _, _ in CHANGES])
async def test_a_change_is_a_generation(
    main: AskedMain, free: str, verb: str, body: dict[str, Any], event: str
) -> None:
    if body.get("address") in ("$free", "$busy"):
        kind = "tcp" if "tcp" in verb else "https" if "https" in verb or "certificate" in verb else "http"
        await main.ask(f"listener {kind} add", address=free)
        if body["address"] == "$busy":
            await main.ask(f"listener {kind} activate", address=free)
        body = {**body, "address": free}
    body = {name: PEM.get(value, value) if isinstance(value, str) else value for name, value in body.items()}
    before, state = main.parts.transactions.generation, main.parts.transactions.state
    with main.parts.events.listen() as events:
        answer = await main.answer(verb, body)
        told = [each["kind"] for each in told_by_main(events)]
    assert ("backend_id" in answer.content) is (verb == "backend add")
    answer.content.pop("backend_id", None)
    assert (answer.ok, answer.message, answer.content) == (True, f"{verb}: done", {"generation": before + 1})
    assert told == [event][: bool(event)]
    parts = main.parts
    assert generations(main)[-1] == (before + 1, summary(verb, body))
    assert parts.supervisor.generation == parts.transactions.generation == before + 1
    assert parts.transactions.state != state
    assert parts.journal.history.state_at(before + 1) == parts.transactions.state


async def test_what_is_not_built_says_so(main: AskedMain) -> None:
    others = set(VERBS)
    assert len(others) > 10
    for verb in sorted(others):
        with nothing_changes(main):
            assert "not built yet" in await main.refusal(verb)


async def test_a_change_that_changes_nothing_makes_no_generation(main: AskedMain) -> None:
    with nothing_changes(main):
        assert await main.ask("backend update", id="api", backend_id="api-1", weight=50) == {"generation": 1}


@pytest.mark.parametrize(
    ("verb", "body", "problems"),
    [
        (
            "backend add",
            {"address": "nowhere", "weight": -1, "wieght": 5},
            [
                "wieght: unknown key; did you mean 'weight'?",
                "id: missing; want the id of a cluster",
                "address: found 'nowhere'; want ip:port",
                "weight: found -1; want",
            ],
        ),
        ("cluster remove", {"id": "apy"}, ["id: found 'apy'; there is no such cluster; did you mean 'api'?"]),
        ("listener tcp add", {"address": HTTP}, [f"address: exists: an http listener at {HTTP}"]),
        ("logging", {"filter": "loud"}, ["filter: "]),
        ("logging", {"filter": 7}, ["filter: found 7; want a string"]),
        ("logging", {}, ["filter: missing"]),
    ],
)
async def test_a_refused_change_says_all_that_is_wrong_and_leaves_nothing(
    main: AskedMain, verb: str, body: dict[str, Any], problems: list[str]
) -> None:
    with nothing_changes(main):
        lines = (await main.refusal(verb, body)).split("\n")
    assert len(lines) == len(problems), lines
    for problem in problems:
        assert any(line.startswith(problem) for line in lines), (problem, lines)


async def test_an_address_in_use_is_no_change(main: AskedMain) -> None:
    with open_listening_socket(Address("127.0.0.1", 0)) as taken:
        taken.listen()
        address = str(bound_address(taken))
        await main.ask("listener http add", address=address)
        with nothing_changes(main):
            assert address in await main.refusal("listener http activate", {"address": address})
    assert await main.ask("listener http activate", address=address) == {"generation": 3}


async def test_a_batch_is_one_generation_in_its_order(main: AskedMain) -> None:
    answer = await main.answer(
        "apply",
        {
            "changes": [
                {"verb": "cluster add", "id": "new"},
                {"verb": "backend add", "id": "new", "address": "127.0.0.1:4", "backend-id": "b", "weight": 1},
                {"verb": "frontend http add", **RULE, "method": "GET", "cluster": "new"},
                {"verb": "backend update", "id": "new", "backend-id": "b", "weight": 2},
                {"verb": "backend remove", "id": "api", "backend-id": "api-1"},
            ]
        },
    )
    assert (answer.message, answer.content) == ("5 changes done", {"generation": 2, "changes": 5})
    assert objects(main) == {
        "listeners": [HTTP, TCP],
        "clusters": ["api", "relay", "new"],
        "frontends": ["api.example/v1", "api.example/v1", TCP],
        "backends": ["relay-1", "b"],
    }
    weighted = Backend(cluster_id="new", backend_id="b", address=Address("127.0.0.1", 4), weight=2)
    assert main.parts.transactions.state.backends["new"] == {"b": weighted}
    ((generation, what),) = generations(main)
    assert generation == 2
    assert what.startswith("apply 5 changes: cluster add id=new; backend add id=new address=127.0.0.1:4 backend-id=b")


async def test_a_batch_of_one_and_one_of_none(main: AskedMain) -> None:
    answer = await main.answer("apply", {"changes": [{"verb": "cluster add", "id": "new"}]})
    assert (answer.message, answer.content) == ("1 change done", {"generation": 2, "changes": 1})
    assert generations(main) == [(2, "apply 1 change: cluster add id=new")]
    with nothing_changes(main):
        answer = await main.answer("apply", {"changes": []})
        assert (answer.message, answer.content) == ("0 changes done", {"generation": 2, "changes": 0})


async def test_one_fault_and_nothing_of_a_batch_is_done_but_every_fault_is_told(main: AskedMain) -> None:
    problems = await refused(
        main,
        {"verb": "cluster add", "id": "new"},
        {"verb": "listener tcp add", "address": HTTP},
        {"id": "verbless"},
        {"verb": 7},
        {"verb": "cluster ad", "id": "new"},
        {"verb": "backend add", "id": "new", "address": "x", "weight": "heavy"},
        {"verb": "logging", "filter": "loud"},
        {"verb": "backend remove", "id": "api", "backend-id": "api-9"},
        {"verb": "certificate add", "address": "127.0.0.1:1", "certificate": "x", "key": "y"},
        None,
        "backend add",
        {"verb": "cluster remove", "id": "none"},
    )
    begins = [
        "changes[1].address: exists: an http listener",
        "changes[2].verb: missing; want a verb that changes something, such as 'backend add'",
        "changes[3].verb: found 7; want a string, such as 'backend add'",
        "changes[4].verb: found 'cluster ad', which is unknown; did you mean 'cluster add'?",
        "changes[5].address: found 'x'; want ip:port",
        "changes[5].weight: found 'heavy'; want",
        "changes[6].filter: ",
        "changes[7].backend-id: found 'api-9'",
        "changes[8].certificate: no certificate in PEM form",
        "changes[9]: found null; want a table of a verb and its options",
        "changes[10]: found 'backend add'; want a table of a verb and its options",
        "changes[11].id: found 'none'",
    ]
    assert len(problems) == len(begins), problems
    for problem, begin in zip(problems, begins, strict=True):
        assert problem.startswith(begin)


@pytest.mark.parametrize(
    "lost",
    [
        {"verb": "cluster add", "id": "new", "protocol": "gopher"},
        {"verb": "cluster ad", "id": "new"},
        {"id": "new"},
    ],
)
async def test_what_only_follows_from_a_fault_is_not_told(main: AskedMain, lost: Mapping[str, Any]) -> None:
    problems = await refused(
        main,
        lost,
        {"verb": "backend add", "id": "new", "address": "127.0.0.1:4"},
        {"verb": "frontend http add", **RULE, "method": "GET", "cluster": "new"},
    )
    assert [problem.split(":")[0] for problem in problems] == [problems[0].split(":")[0]]
    assert problems[0].startswith("changes[0].")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({}, "changes: missing; want an array of changes, or file: the path of one"),
        ({"changes": [], "file": "/x"}, "file: found '/x' and changes; want only one of both"),
        ({"file": "batch"}, "file: found 'batch'; want an absolute path"),
        ({"file": "/nowhere/batch"}, "file: cannot read /nowhere/batch: No such file or directory"),
        ({"file": 7}, "file: found 7"),
        ({"changes": 7}, "changes: found 7"),
        ({"changes": [7]}, "changes[0]: found 7"),
        ({"changes": [], "force": True}, "force: unknown key"),
    ],
)
async def test_what_is_no_batch(main: AskedMain, body: dict[str, Any], problem: str) -> None:
    with nothing_changes(main):
        assert (await main.refusal("apply", body)).startswith(problem)


async def test_a_large_batch_is_no_other(main: AskedMain) -> None:
    many = [{"verb": "cluster add", "id": f"c{number}"} for number in range(MANY + 1)]
    assert len(await refused(main, *many, {"verb": "cluster remove", "id": "none"})) == 1
    assert await main.ask("apply", changes=many) == {"generation": 2, "changes": MANY + 1}
    assert len(main.parts.transactions.state.clusters) == MANY + 3


TOML = '[[changes]]\nverb = "cluster add"\nid = "new"\n'


@pytest.mark.parametrize(
    ("name", "text"),
    [("b.toml", TOML), ("b", TOML), ("b", '{"changes": [{"verb": "cluster add", "id": "new"}]}')],
)
async def test_a_batch_of_any_size_is_read_from_its_file(main: AskedMain, tmp_path: Path, name: str, text: str) -> None:
    file = tmp_path / name
    file.write_text(text + "\n" * main.parts.config.program.max_command_buffer_size)
    answer = await main.answer("apply", {"file": str(file)})
    assert (answer.message, answer.content) == ("1 change done", {"generation": 2, "changes": 1})
    assert generations(main) == [(2, f"apply 1 change from {file}: cluster add id=new")]
    assert f'what="apply file={file}"' in main.audited[0]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ('{"changes": [7, {"verb": "cluster remove", "id": "none"}]}', ["changes[0]: found 7", "changes[1].id: found"]),
        ('{"changes": 7, "force": true}', ["changes: found 7", "force: unknown key"]),
        ('{"changes": [], "file": "/x"}', ["file: unknown key"]),
    ],
)
async def test_a_file_is_judged_like_a_request(main: AskedMain, tmp_path: Path, text: str, problems: list[str]) -> None:
    (tmp_path / "batch").write_text(text)
    with nothing_changes(main):
        lines = (await main.refusal("apply", {"file": str(tmp_path / "batch")})).split("\n")
    assert len(lines) == len(problems), lines
    for line, problem in zip(lines, problems, strict=True):
        assert line.startswith(problem)


async def test_a_file_that_is_no_batch(main: AskedMain, tmp_path: Path) -> None:
    file = tmp_path / "batch.json"
    file.write_text("{")
    assert (await main.refusal("apply", {"file": str(file)})).startswith(f"{file}: not JSON: ")


async def test_the_log_follows_its_directives_at_once_and_as_long_as_they_are_in_force(main: AskedMain) -> None:
    ours, quiet = logging.getLogger("sozu_trio"), logging.getLogger("sozu_trio.wire")
    await main.ask("logging", filter="warn,sozu_trio.wire=error")
    assert (ours.level, quiet.level) == (logging.WARNING, logging.ERROR)
    await main.apply({"verb": "logging", "filter": "debug"})
    assert (ours.level, quiet.level) == (logging.DEBUG, logging.NOTSET)
    await main.ask("rollback", generation=2)
    assert (ours.level, quiet.level) == (logging.WARNING, logging.ERROR)


async def test_changes_outlive_main(tmp_path: Path) -> None:
    file = write(tmp_path)
    async with running(file) as main:
        for verb, body, _ in CHANGES:
            if verb.endswith("update") and body.get("address") != "$free":
                await main.answer(verb, body)
        await main.apply(
            {"verb": "listener tcp add", "address": NEW}, {"verb": "backend remove", "id": "api", "backend-id": "api-1"}
        )
        state, generation = main.parts.transactions.state, main.parts.transactions.generation
    async with running(file) as main:
        assert (main.parts.transactions.state, main.parts.transactions.generation) == (state, generation)


async def test_the_name_that_a_backend_gets_is_told(main: AskedMain) -> None:
    asked = {"id": "api", "address": "127.0.0.1:77"}
    first = await main.ask("backend add", **asked)
    assert first["backend_id"] == "api-0-127.0.0.1:77"
    assert await main.ask("backend add", **asked) == first
    assert (await main.ask("backend add", **asked, backend_id="one"))["backend_id"] == "one"
