"""What a new image of main tells of how it came to be, and what an upgrade refuses before that."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sozu_trio import __version__
from sozu_trio.control.server import ControlServer
from sozu_trio.main import continuing
from sozu_trio.main.continuing import go_on
from sozu_trio.main.handoff import Succession
from tests.main.running import running, write
from tests.main.test_replacement import PEER, handoff


class Server:
    """A control server that keeps what it is given to go on with."""

    def __init__(self) -> None:
        self.answer: Any = None

    def go_on(self, handover: object, answer: object) -> None:
        self.answer = answer


def succeeding(failure: str | None, client: object) -> Succession:
    return cast(Succession, SimpleNamespace(failure=failure, handoff=handoff(client=client)))


async def test_who_asked_is_told_which_version_runs_now(tmp_path: Path) -> None:
    told: list[str] = []

    async def progress(message: str, _content: object) -> None:
        told.append(message)

    async with running(write(tmp_path)) as main:
        server = Server()
        await go_on(main.parts, succeeding(None, "client"), cast(ControlServer, server))
        answer = await server.answer(PEER, None, progress)
        assert answer.content["before"] == "1"
        assert answer.content["version"] == __version__
        assert [each["id"] for each in answer.content["workers"]] == [0]
        assert answer.message == f"upgraded from version 1 to {__version__}"
        assert told[0].partition(", away")[0] == f"main: version 1 to {__version__}"
        assert told[-1].startswith("worker 0: pid ")
        assert 'result="ok" verb="upgrade"' in main.audited[-1]


@pytest.mark.parametrize("failure", [None, "it was broken"])
async def test_where_a_signal_has_asked_the_log_has_it(
    tmp_path: Path, failure: str | None, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running(write(tmp_path)) as main:
        # Main's log has handlers of its own, and hands nothing on.
        monkeypatch.setattr(logging.getLogger("sozu_trio.main.continuing"), "handlers", [caplog.handler])
        await go_on(main.parts, succeeding(failure, None), cast(ControlServer, Server()))
        result = "ok" if failure is None else "refused"
        assert f'result="{result}" verb="upgrade"' in main.audited[-1]
    said = f"main: version 1 to {__version__}" if failure is None else f"version 2 did not take over: {failure}"
    assert said in caplog.text


async def test_a_mistake_of_ours_is_logged_there(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_args: object) -> None:
        raise ValueError("broken")

    monkeypatch.setattr(continuing, "replace_workers", broken)
    async with running(write(tmp_path)) as main:
        monkeypatch.setattr(logging.getLogger("sozu_trio.main.continuing"), "handlers", [caplog.handler])
        await go_on(main.parts, succeeding(None, None), cast(ControlServer, Server()))
    assert "ValueError: broken" in caplog.text


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "this main was not started as a program of its own"),
        ({"worker": 9}, "worker: there is none with the id 9; there are 0"),
        ({"worker": 0, "python": "/x"}, "python: found '/x' and a worker; want only one of both"),
        ({"pythn": "x"}, "pythn: unknown key"),
    ],
)
async def test_what_an_upgrade_refuses(tmp_path: Path, body: dict[str, object], said: str) -> None:
    async with running(write(tmp_path)) as main:
        assert said in await main.refusal("upgrade", body)
