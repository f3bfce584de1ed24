"""A listener that drains: who waits for it sees who is left, and hears how many were cut."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel

from sozu_trio.config.limits import LAST_CALL
from sozu_trio.main.draining import POLL, Left, look_at_left
from sozu_trio.main.transactions import Transactions
from sozu_trio.testing import Client
from tests.main.looking_parts import AskedMain, open_main

pytestmark = pytest.mark.virtual_time

CONFIG = """
shutdown_timeout = 3
back_timeout = 1000
[[listeners]]
protocol = "http"
address = "$http"
[[listeners]]
protocol = "tcp"
address = "$tcp"
[clusters.api]
protocol = "http"
frontends = [{ address = "$http", hostname = "example.com" }]
backends = [{ address = "$silent", backend_id = "api-1" }]
[clusters.relay]
protocol = "tcp"
frontends = [{ address = "$tcp" }]
backends = [{ address = "$silent" }]
"""


@pytest.fixture
async def main(tmp_path: Path, silent: str) -> AsyncIterator[AskedMain]:
    async with open_main(tmp_path, CONFIG, silent=silent) as asked:
        # The journal is written in a thread, during which virtual time would pass.
        transactions = Transactions(asked.parts.supervisor, None, asked.parts.events)
        yield AskedMain(replace(asked.parts, transactions=transactions), asked.addresses, asked.audited)


@pytest.fixture
async def clients(main: AskedMain) -> AsyncIterator[list[Client]]:
    """Two in the middle of a request, one idle, and one of the tcp listener."""
    async with AsyncExitStack() as stack:
        opened = [await stack.enter_async_context(main.connect(name)) for name in ("http", "http", "http", "tcp")]
        for client in opened[:2]:
            await client.send(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
        await trio.sleep(LAST_CALL)
        yield opened


def left(sessions: int, seconds: object, tcp: int = 0) -> dict[str, Any]:
    return {"sessions": sessions, "websocket": 0, "tcp": tcp, "seconds": seconds}


@pytest.mark.parametrize("verb", ["listener deactivate", "listener http deactivate", "listener remove"])
async def test_who_is_left_is_cut_at_shutdown_timeout(main: AskedMain, clients: list[Client], verb: str) -> None:
    began = trio.current_time()
    answer = await main.answer(verb, {"address": str(main.addresses["http"]), "drain": True})
    assert trio.current_time() - began == pytest.approx(3, abs=2 * POLL)
    assert (answer.message, answer.content) == (f"{verb}: done; 2 sessions cut", {"generation": 2, "cut": 2})
    assert [message for message, _ in main.progress] == ["2 sessions left, 2 s", "2 sessions left, 1 s"]
    # Whoever came in elsewhere stays.
    assert (await look_at_left(main.parts.supervisor)).sessions == 0
    (elsewhere,) = (await main.ask("status"))["workers"]
    assert elsewhere["sessions"] == 1


async def test_the_answer_comes_when_the_last_has_gone(main: AskedMain, clients: list[Client]) -> None:
    answers: list[Any] = []

    async def drain() -> None:
        answers.append(await main.ask("listener deactivate", address=str(main.addresses["http"]), drain=True))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain)
        await trio.sleep(1.5)
        for client in clients[:2]:
            await client.close()
        began = trio.current_time()
    assert trio.current_time() - began <= 2 * POLL
    assert answers == [{"generation": 2, "cut": 0}]
    assert len(main.progress) == 1


async def test_a_limit_of_its_own(main: AskedMain, clients: list[Client]) -> None:
    began = trio.current_time()
    body = {"address": str(main.addresses["tcp"]), "drain": True, "drain-timeout": 1.5}
    assert (await main.answer("listener tcp deactivate", body)).content == {"generation": 2, "cut": 1}
    assert trio.current_time() - began == pytest.approx(1.5, abs=2 * POLL)
    ((message, content),) = main.progress
    assert message == "1 session left, 1 of them TCP, 1 s"
    assert content == left(1, pytest.approx(0.5, abs=0.1), tcp=1)


async def test_without_limit_until_less_patience(main: AskedMain, clients: list[Client]) -> None:
    """Somebody else may cut sooner; both hear of it."""
    address = str(main.addresses["http"])
    answers: list[Any] = []

    async def drain() -> None:
        answers.append(await main.ask("listener deactivate", address=address, drain=True, drain_timeout=0))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain)
        await trio.sleep(100)
        assert main.progress[-1] == ("2 sessions left", left(2, None))
        assert await main.ask("listener deactivate", address=address, drain=True, drain_timeout=2) == {
            "generation": 2,
            "cut": 2,
        }
    assert answers == [{"generation": 2, "cut": 2}]


async def test_many_at_once(main: AskedMain, clients: list[Client]) -> None:
    http, tcp = str(main.addresses["http"]), str(main.addresses["tcp"])
    stops = [
        {"verb": "listener deactivate", "address": http, "drain": True},
        {"verb": "listener deactivate", "address": tcp, "drain": True, "drain-timeout": 1.5},
    ]
    answer = await main.answer("apply", {"changes": stops})
    assert (answer.message, answer.content) == (
        "2 changes done; 3 sessions cut",
        {"generation": 2, "cut": 3, "changes": 2},
    )
    assert [message for message, _ in main.progress] == [
        "3 sessions left, 1 of them TCP, 2 s",
        "2 sessions left, 1 s",
    ]


async def test_a_cluster_drains_and_whoever_is_idle_stays(main: AskedMain, clients: list[Client]) -> None:
    began = trio.current_time()
    answer = await main.answer("cluster remove", {"id": "api", "drain": True})
    assert trio.current_time() - began == pytest.approx(3, abs=2 * POLL)
    assert (answer.message, answer.content) == ("cluster remove: done; 2 sessions cut", {"generation": 2, "cut": 2})
    assert [message for message, _ in main.progress] == ["2 sessions left, 2 s", "2 sessions left, 1 s"]
    assert [(await client.response()).status for client in clients[:2]] == [502, 502]
    assert (await clients[2].get()).status == 503
    # That of the other cluster has the time it is given.
    assert await main.ask("cluster remove", id="relay", drain=True, drain_timeout=1.5) == {"generation": 3, "cut": 1}
    assert main.progress[-1][0] == "1 session left, 1 of them TCP, 1 s"
    with pytest.raises(trio.BrokenResourceError):
        await clients[3].receive_all()


@pytest.mark.parametrize(("verb", "more"), [("cluster remove", {}), ("backend remove", {"backend-id": "api-1"})])
async def test_requests_of_what_is_removed_have_their_time(
    main: AskedMain, clients: list[Client], verb: str, more: dict[str, str]
) -> None:
    contents: list[Any] = []

    async def drain() -> None:
        answer = await main.answer(verb, {"id": "api", **more, "drain": True, "drain-timeout": 0})
        contents.append(answer.content)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain)
        await trio.sleep(100)
        assert main.progress[-1] == ("2 sessions left", left(2, None))
        for client in clients[:2]:
            await client.close()
    assert contents == [{"generation": 2, "cut": 0}]


async def test_a_cluster_that_is_back_is_not_waited_for(main: AskedMain, clients: list[Client]) -> None:
    answers: list[Any] = []

    async def drain() -> None:
        answers.append(await main.ask("cluster remove", id="api", drain=True))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain)
        await trio.sleep(1)
        await main.ask("cluster add", id="api")
        began = trio.current_time()
    assert trio.current_time() - began <= 2 * POLL
    assert answers == [{"generation": 2, "cut": 0}]
    await trio.sleep(5)
    assert (await main.ask("status"))["workers"][0]["sessions"] == 4


async def test_clusters_and_listeners_at_once(main: AskedMain, clients: list[Client]) -> None:
    stops = [
        {"verb": "listener deactivate", "address": str(main.addresses["http"]), "drain": True},
        {"verb": "cluster remove", "id": "relay", "drain": True, "drain-timeout": 1.5},
    ]
    assert await main.ask("apply", changes=stops) == {"generation": 2, "cut": 3, "changes": 2}
    assert [message for message, _ in main.progress] == [
        "3 sessions left, 1 of them TCP, 2 s",
        "2 sessions left, 1 s",
    ]


async def test_a_backend_may_have_less_time_than_its_cluster(main: AskedMain, clients: list[Client]) -> None:
    began = trio.current_time()
    removals = [
        {"verb": "backend remove", "id": "api", "backend-id": "api-1", "deadline": 1.5},
        {"verb": "cluster remove", "id": "api", "drain": True},
    ]
    assert await main.ask("apply", changes=removals) == {"generation": 2, "cut": 2, "changes": 2}
    assert trio.current_time() - began == pytest.approx(1.5, abs=2 * POLL)


async def test_who_comes_in_again_is_not_waited_for(main: AskedMain, clients: list[Client]) -> None:
    address = str(main.addresses["http"])
    answers: list[Any] = []

    async def drain() -> None:
        answers.append(await main.ask("listener deactivate", address=address, drain=True))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain)
        await trio.sleep(0.5)
        await main.ask("listener activate", address=address)
        async with main.connect() as late:
            await late.send(b"GET / HTTP/1.1\r\nHost: example.com\r\n\r\n")
            await trio.sleep(3)
            assert answers == [{"generation": 2, "cut": 2}]


async def test_nobody_is_there(main: AskedMain) -> None:
    address = str(main.addresses["http"])
    assert await main.ask("listener deactivate", address=address, drain=True) == {"generation": 2, "cut": 0}
    assert await main.ask("listener deactivate", address=address, drain=True) == {"generation": 2, "cut": 0}
    assert main.progress == []


async def test_a_stop_meanwhile_is_told(main: AskedMain, clients: list[Client]) -> None:
    refusals: list[str] = []

    async def drain() -> None:
        body = {"address": str(main.addresses["http"]), "drain": True, "drain-timeout": 0}
        refusals.append(await main.refusal("listener deactivate", body))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(drain)
        await trio.sleep(0.5)
        assert await main.ask("shutdown", hard=True) == {"cut": 3}
    assert refusals == ["generation 2 is decided and stays so, but the proxy stops before the last one has gone"]


async def test_without_drain_nobody_is_waited_for(main: AskedMain, clients: list[Client]) -> None:
    began = trio.current_time()
    assert await main.ask("listener deactivate", address=str(main.addresses["http"])) == {"generation": 2}
    assert trio.current_time() == began
    await trio.lowlevel.checkpoint()
    assert (await look_at_left(main.parts.supervisor)).sessions == 2


@pytest.mark.parametrize(
    ("sessions", "websocket", "tcp", "seconds", "said"),
    [
        (12, 3, 0, 17.2, "12 sessions left, 3 of them WebSocket, 18 s"),
        (12, 3, 2, 18, "12 sessions left, 3 of them WebSocket and 2 TCP, 18 s"),
        (1, 0, 1, None, "1 session left, 1 of them TCP"),
        (1200, 1100, 0, -1, "1,200 sessions left, 1,100 of them WebSocket, 0 s"),
    ],
)
async def test_what_is_told(sessions: int, websocket: int, tcp: int, seconds: float | None, said: str) -> None:
    told: list[tuple[str, Any]] = []

    async def progress(message: str, content: Any) -> None:
        told.append((message, content))

    deadline = float("inf") if seconds is None else trio.current_time() + seconds
    await Left(sessions=sessions, websocket=websocket, tcp=tcp).tell(deadline, progress)
    shown = None if seconds is None else max(0, seconds)
    assert told == [(said, {"sessions": sessions, "websocket": websocket, "tcp": tcp, "seconds": shown})]


def test_who_died_with_a_worker_was_not_cut() -> None:
    before = Left(sessions=3, websocket=0, tcp=0, cut={0: 5, 1: 2})
    after = Left(sessions=0, websocket=0, tcp=0, cut={0: 0, 1: 3})
    assert after.cut_since(before) == 1
