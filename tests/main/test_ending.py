"""`shutdown`: who is busy gets time or none, and whoever asked sees how many are left and hears how many were cut."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from tests.main.looking_parts import AskedMain, open_main

pytestmark = pytest.mark.virtual_time

NO_KINDS = {"websocket": 0, "tcp": 0}
CONFIG = """
shutdown_timeout = 5
back_timeout = 1000
[[listeners]]
protocol = "http"
address = "$http"
[clusters.api]
protocol = "http"
frontends = [{ address = "$http", hostname = "example.com" }]
backends = [{ address = "$silent" }]
"""


@pytest.fixture
async def main(tmp_path: Path, silent: str) -> AsyncIterator[AskedMain]:
    async with open_main(tmp_path, CONFIG, silent=silent) as asked:
        yield asked


@asynccontextmanager
async def busy(main: AskedMain, count: int) -> AsyncIterator[trio.Event]:
    """Clients in the middle of a request, until they end or the event is set; and one that is idle."""
    leave = trio.Event()

    async def wait_for_an_answer() -> None:
        async with main.connect() as client, trio.open_nursery() as waiting:
            waiting.start_soon(leave_then, waiting.cancel_scope)
            await client.send(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
            await client.receive_all()
            waiting.cancel_scope.cancel(reason="cut")

    async def leave_then(scope: trio.CancelScope) -> None:
        await leave.wait()
        scope.cancel(reason="gone")

    async with main.connect(), trio.open_nursery() as clients:
        for _ in range(count):
            clients.start_soon(wait_for_an_answer)
        await wait_all_tasks_blocked()
        yield leave


@pytest.mark.parametrize(
    ("body", "after", "left", "cut"),
    [
        ({"hard": True}, 0, [], 3),
        ({"drain-timeout": 2.5}, 2.5, [2, 2], 2),
        ({}, 5, [2, 2, 2, 2], 2),
        ({"hard": False}, 5, [2, 2, 2, 2], 2),
    ],
)
async def test_whoever_is_busy_is_cut_in_the_end(
    main: AskedMain, body: dict[str, Any], after: float, left: list[int], cut: int
) -> None:
    async with busy(main, 2):
        began = trio.current_time()
        answer = await main.answer("shutdown", body)
        assert trio.current_time() - began == pytest.approx(after, abs=0.01)
    assert (answer.message, answer.content) == (f"stopped: {cut} sessions cut", {"cut": cut})
    seconds = [after - each for each in range(1, len(left) + 1)]
    assert main.progress == [
        (f"{each} sessions left, {math.ceil(until)} s", {**NO_KINDS, "sessions": each, "seconds": until})
        for each, until in zip(left, seconds, strict=True)
    ]
    assert main.parts.supervisor.stopped.is_set()


async def test_without_an_end_it_waits_for_the_last_one(main: AskedMain) -> None:
    answers = []
    async with busy(main, 1) as leave, trio.open_nursery() as nursery:

        async def shut_down() -> None:
            answers.append(await main.ask("shutdown", drain_timeout=0))

        nursery.start_soon(shut_down)
        await trio.sleep(100.5)
        assert main.progress == [("1 session left", {**NO_KINDS, "sessions": 1, "seconds": None})] * 100
        leave.set()
    assert answers == [{"cut": 0}]


async def test_patience_may_end_early(main: AskedMain) -> None:
    answers: list[Any] = []
    async with busy(main, 1), trio.open_nursery() as nursery:

        async def shut_down(**body: Any) -> None:
            answers.append(await main.ask("shutdown", **body))

        nursery.start_soon(shut_down)
        await trio.sleep(2.5)
        began = trio.current_time()
        await main.ask("shutdown", hard=True)
    assert trio.current_time() - began < 0.1
    assert answers == [{"cut": 1}]
    assert [line.split("\t")[1].split()[:2] for line in main.audited] == [['result="ok"', 'verb="shutdown"']] * 2


async def test_nobody_is_there(main: AskedMain) -> None:
    with main.parts.events.listen() as events:
        assert await main.ask("shutdown") == {"cut": 0}
        told = await events.receive()
    assert (told["kind"], told["details"]) == ("SOZU_STOP_REQUESTED", "soft")
    assert main.progress == []


async def test_nothing_can_be_changed_any_more(main: AskedMain) -> None:
    await main.ask("shutdown", hard=True)
    assert await main.refusal("cluster add", {"id": "x"}) == "the proxy is stopping: nothing can be changed"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"hard": True, "drain-timeout": 5}, "drain-timeout: found 5 and hard = true; want only one of both"),
        ({"drain-timeout": -1}, "drain-timeout: found -1; want "),
        ({"hard": "yes"}, "hard: found 'yes'; want true or false"),
        ({"now": True}, "now: unknown key; known are hard, drain-timeout"),
    ],
)
async def test_a_slip_stops_nothing(main: AskedMain, body: dict[str, Any], said: str) -> None:
    assert (await main.refusal("shutdown", body)).startswith(said)
    async with main.connect() as client:
        assert (await client.get(host="nowhere")).status == 404
