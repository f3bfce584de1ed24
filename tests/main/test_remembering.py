"""Every generation is listed, and the proxy can be made what it was at any of them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sozu_trio.control.history import KEPT
from tests.main.declared_parts import OVER_THE_SOCKET, WEB, WITHOUT_RELAY, equals_the_file, origins
from tests.main.looking_parts import AskedMain
from tests.main.running import GLOBALS, nothing_changes, running, write


@pytest.fixture
async def main(tmp_path: Path) -> AsyncIterator[AskedMain]:
    async with running(write(tmp_path)) as asked:
        yield asked


async def test_history_is_newest_first_and_outlives_main(tmp_path: Path) -> None:
    file = write(tmp_path)
    async with running(file) as main:
        answer = await main.answer("history")
        first: dict[str, Any] = {"generation": 1, "time": None, "uid": None, "pid": None, "process": None}
        first |= {"what": f"start {file}", "objects": 8}
        assert (answer.message, answer.content) == ("1 generation", {"generations": [first]})
        await main.ask("cluster add", id="new")
        assert (await main.answer("history")).message == "2 generations"
        await main.apply(*OVER_THE_SOCKET)
        entries = (await main.ask("history"))["generations"]
        assert [(each["generation"], each["objects"]) for each in entries] == [(3, 6), (2, 1), (1, 8)]
        assert entries[2] == first
        assert entries[1] == {
            "generation": 2,
            "time": entries[1]["time"],
            "uid": main.parts.journal.history.entries[0].uid,
            "pid": 7,
            "process": "test",
            "what": "cluster add id=new",
            "objects": 1,
        }
        assert entries[0]["time"] >= entries[1]["time"] > "2"
    async with running(file) as main:
        assert (await main.ask("history"))["generations"] == entries
        for limit in (0, 1, 2):
            answer = await main.answer("history", {"limit": limit})
            assert answer.message == f"{limit} of 3 generations"
            assert answer.content["generations"] == entries[:limit]
        await main.ask("rollback", generation=2)
        latest = (await main.ask("history"))["generations"][0]
        assert (latest["generation"], latest["what"]) == (4, "rollback 2")


async def test_a_rollback_is_one_more_generation(main: AskedMain) -> None:
    states = {1: main.parts.transactions.state}
    for number, change in enumerate(OVER_THE_SOCKET, 2):
        await main.apply(change)
        states[number] = main.parts.transactions.state
    latest = len(states)
    for number, target in enumerate((3, latest, 1), latest + 1):
        answer = await main.answer("rollback", {"generation": target})
        assert answer.content == {"generation": number}
        assert answer.message == f"generation {number} is what generation {target} was"
        assert main.parts.transactions.state == states[target]
        assert main.parts.journal.history.state_at(number) == states[target]
    with nothing_changes(main):
        assert await main.ask("rollback", generation=latest + 3) == {"generation": latest + 3}


async def test_what_the_file_says_is_not_rolled_back(tmp_path: Path) -> None:
    """Else the next start would find the file changed since, and undo the rollback."""
    async with running(write(tmp_path)) as main:
        file = write(tmp_path, GLOBALS + WITHOUT_RELAY + WEB)
        await main.ask("reload")
        declared = main.parts.transactions.state.declared
        await main.ask("rollback", generation=1)
        state = main.parts.transactions.state
        assert list(state.clusters) == ["api", "relay"]
        assert state.declared == declared
        assert origins(main)["relay"] == "socket"
    async with running(file) as main:
        assert (main.parts.transactions.state, main.parts.transactions.generation) == (state, 3)
        await main.ask("reload", prune=True)
        assert equals_the_file(main, file)


async def test_generations_that_are_not_remembered(main: AskedMain) -> None:
    for _ in range(KEPT + 1):
        for weight in (1, 2):
            await main.ask("backend update", id="api", backend_id="api-1", weight=weight)
    generation = main.parts.transactions.generation
    oldest = main.parts.journal.history.base_generation
    assert 1 < oldest <= generation - KEPT
    answer = await main.answer("history", {"limit": 2 * KEPT + 1})
    kept = generation - oldest + 1
    assert answer.message == f"{kept} generations; those before {oldest} are not kept"
    assert len(answer.content["generations"]) == kept
    last = answer.content["generations"][-1]
    assert (last["generation"], last["what"], last["objects"]) == (oldest, "all that came before, as one", 8)
    assert (await main.answer("history", {"limit": 3})).message.startswith(f"3 of {kept} generations; those before")
    for target in (0, 1, oldest - 1, generation + 1):
        with nothing_changes(main):
            refusal = await main.refusal("rollback", {"generation": target})
        assert refusal == f"generation {target} is not remembered; want one from {oldest} to {generation}"
    assert await main.ask("rollback", generation=oldest) == {"generation": generation + 1}


@pytest.mark.parametrize(
    ("verb", "body", "problem"),
    [
        ("rollback", {}, "generation: missing"),
        ("rollback", {"generation": -1}, "generation: found -1; want"),
        ("rollback", {"generation": "1"}, "generation: found '1'; want"),
        ("history", {"limit": -1}, "limit: found -1; want"),
        ("history", {"since": 1}, "since: unknown key"),
    ],
)
async def test_what_is_no_generation(main: AskedMain, verb: str, body: dict[str, Any], problem: str) -> None:
    with nothing_changes(main):
        assert (await main.refusal(verb, body)).startswith(problem)
