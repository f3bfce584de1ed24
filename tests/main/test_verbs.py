"""The one place where verbs are answered: what is known, who may say it, and what the audit log hears of it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.cli.ctl_parser import VERBS
from sozu_trio.cli.ctl_questions import LOCAL
from sozu_trio.config.secrets import REDACTED
from sozu_trio.config.verbs import BODIES
from sozu_trio.control.answering import Answer
from sozu_trio.errors import NotConfirmed, OperatorError
from sozu_trio.main import verbs
from sozu_trio.main.parts import Call, Parts
from sozu_trio.main.verbs import HANDLERS, LOOKING, NOT_BUILT, changes_something
from tests.main.looking_parts import OWNER, AskedMain, open_main

LOOKS = {
    *("status", "tree", "explain", "plan", "history", "events", "metrics get", "session list"),
    *("cluster list", "backend list", "frontend list", "listener list", "certificate list", "certificate query"),
    *("state dump", "state stats", "connection-limit show"),
}
"""All that a read-only user may say."""


@pytest.fixture
async def main(tmp_path: Path) -> AsyncIterator[AskedMain]:
    async with open_main(tmp_path) as asked:
        yield asked


def test_every_verb_of_ctl_is_known() -> None:
    assert VERBS.keys() - {each.words for each in LOCAL} == HANDLERS.keys() | NOT_BUILT.keys()
    assert not HANDLERS.keys() & NOT_BUILT.keys()


def test_verbs_either_look_or_change() -> None:
    assert LOOKING == LOOKS
    assert {verb for verb in HANDLERS if changes_something(verb)} == HANDLERS.keys() - LOOKS
    assert BODIES.keys() < HANDLERS.keys() - LOOKS
    assert not any(map(changes_something, [*LOOKS, *NOT_BUILT, "nonsense", ""]))


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        ("cluster lst", "verb: unknown: 'cluster lst'; did you mean 'cluster list'?"),
        ("upgrades", "verb: unknown: 'upgrades'; did you mean 'upgrade'?"),
        ("xyz", "verb: unknown: 'xyz'"),
        ("", "verb: unknown: ''"),
        ("y" * 200, f"verb: unknown: '{'y' * 80}'"),
        ("a\nb", "verb: unknown: 'a\\nb'"),
        ("cluster health-check list", "verb: found 'cluster health-check list', which is not built yet: health checks"),
        ("metrics enable", "counters are plain integers here and always on"),
        ("metrics clear", "counters are never set back: take the difference of two readings"),
    ],
)
async def test_verbs_without_an_answer(main: AskedMain, verb: str, said: str) -> None:
    assert await main.refusal(verb) == said
    assert main.audited == []


@pytest.mark.parametrize(
    "verb",
    [
        *("listener udp add", "frontend udp add", "cluster h2 enable"),
        "cluster health-check set",
    ],
)
async def test_changes_that_are_not_built_say_so_themselves(main: AskedMain, verb: str) -> None:
    assert f"verb: found {verb!r}, which is not built yet: " in await main.refusal(verb)
    assert main.parts.transactions.generation == 1


async def test_a_change_is_written_down_with_who_asked(main: AskedMain) -> None:
    peer = replace(OWNER, uid=1234, pid=42, process="deploy", client_id=9)
    await main.answer("cluster add", {"id": "new"}, peer=peer)
    (line,) = main.audited
    assert "\t" in line
    result, _, elapsed = line.partition("\t")[2].partition(" elapsed_ms=")
    assert result == (
        'result="ok" verb="cluster add" what="cluster add id=new" uid=1234 pid=42 process="deploy" client=9'
        " generation=2"
    )
    assert float(elapsed) >= 0


async def test_what_is_refused_is_written_down_with_the_reason(main: AskedMain) -> None:
    said = await main.refusal("cluster add", {"id": "api", "authorized-hash": "geheim"})
    (line,) = main.audited
    assert 'result="refused" verb="cluster add"' in line
    assert "generation=1 " in line
    assert said.partition("\n")[0].replace('"', '\\"') in line
    assert "geheim" not in line
    assert REDACTED in line


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("frontend http add", {"header": ["request=authorization=geheim"]}),
        ("frontend http add", {"headers": ["request=authorization=geheim"]}),
        ("certificate add", {"private-kye": "geheim"}),
        ("apply", {"changes": [{"verb": "cluster add", "id": "x", "passwrod": "geheim"}]}),
        ("apply", {"changes": ["-----BEGIN PRIVATE KEY-----\ngeheim"]}),
    ],
)
async def test_what_may_be_a_secret_is_not_written_down(main: AskedMain, verb: str, body: dict[str, Any]) -> None:
    said = await main.refusal(verb, body)
    assert ["geheim" in line for line in main.audited] == [False]
    assert "geheim" not in said


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("cluster add", {"id": "x", "authorized-hash": "admin:geheim"}),
        ("cluster add", {"id": "x", "authorized-hash": ["admin:geheim"]}),
        ("cluster add", {"id": "x", "authorized-hash": [{"admin": "geheim"}, 7]}),
        ("apply", {"changes": [{"verb": "cluster add", "id": "x", "authorized-hash": "geheim; want geheim"}]}),
        ("certificate add", {"address": "127.0.0.1:443", "key": "geheim"}),
        ("state load", {"content": '{"clusters": "geheim"}'}),
        ("state load", {"content": ["geheim"]}),
    ],
)
async def test_no_secret_is_repeated(main: AskedMain, verb: str, body: dict[str, Any]) -> None:
    assert "geheim" not in await main.refusal(verb, body)
    assert ["geheim" in line for line in main.audited] == [False]


async def test_who_may_only_look_changes_nothing_and_the_attempt_is_written_down(main: AskedMain) -> None:
    peer = replace(OWNER, uid=1001, may_change=False)
    assert (await main.answer("status", peer=peer)).ok
    with pytest.raises(OperatorError, match="read-only: uid 1001 may only look"):
        await main.answer("cluster add", {"id": "new"}, peer=peer)
    (line,) = main.audited
    assert 'result="refused" verb="cluster add" what="cluster add id=new" uid=1001' in line
    assert main.parts.transactions.generation == 1


async def test_a_batch_is_written_down_with_what_is_in_it(main: AskedMain) -> None:
    changes = [{"verb": "cluster add", "id": f"c{number}"} for number in range(5)]
    await main.answer("apply", {"changes": changes})
    (line,) = main.audited
    assert 'what="apply 5 changes: cluster add id=c0; cluster add id=c1; cluster add id=c2"' in line


async def test_looks_are_not_written_down(main: AskedMain) -> None:
    for verb in LOOKS - {"events", "plan", "explain"}:
        await main.ask(verb)
    await main.ask("explain", url="http://a/")
    assert main.audited == []


async def test_a_mistake_of_ours_is_written_down_and_goes_on_its_way(
    main: AskedMain, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: Parts, call: Call) -> Answer:
        raise RuntimeError(f"{call.verb} went wrong")

    monkeypatch.setitem(dict_of(HANDLERS), "cluster add", fail)
    with pytest.raises(RuntimeError, match="cluster add went wrong"):
        await main.answer("cluster add", {"id": "new"})
    assert ['result="failed"' in line for line in main.audited] == [True]
    assert main.audited[0].endswith('reason="cluster add went wrong"')


async def test_what_is_in_force_but_not_confirmed_is_no_refusal(
    main: AskedMain, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def go_unconfirmed(_: Parts, __: Call) -> Answer:
        raise NotConfirmed("generation 2 is decided", 2)

    monkeypatch.setitem(dict_of(HANDLERS), "cluster add", go_unconfirmed)
    assert await main.refusal("cluster add", {"id": "new"}) == "generation 2 is decided"
    (line,) = main.audited
    assert 'result="unconfirmed" verb="cluster add"' in line
    assert line.endswith('reason="generation 2 is decided"')


async def test_what_is_cancelled_is_written_down(main: AskedMain, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(_: Parts, __: Call) -> Answer:
        await trio.sleep_forever()

    monkeypatch.setitem(dict_of(HANDLERS), "cluster add", hang)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(main.answer, "cluster add")
        await wait_all_tasks_blocked()
        assert main.audited == []
        nursery.cancel_scope.cancel(reason="the client has gone")
    assert ['result="cancelled" verb="cluster add"' in line for line in main.audited] == [True]


def dict_of(handlers: object) -> dict[str, object]:
    assert isinstance(handlers, dict)
    assert handlers is verbs.HANDLERS
    return handlers
