"""Events are told to a client until it goes, the proxy stops, or it does not keep up."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.main.events import WAITING, Event
from tests.main.looking_parts import AskedMain, open_main


@pytest.fixture
async def main(tmp_path: Path) -> AsyncIterator[AskedMain]:
    async with open_main(tmp_path) as asked:
        yield asked


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


async def test_all_of_a_large_change_is_told(main: AskedMain) -> None:
    names = [f"c{number}" for number in range(WAITING + 500)]
    async with trio.open_nursery() as nursery:
        nursery.start_soon(main.answer, "events")
        await wait_all_tasks_blocked()
        await main.apply(*({"verb": "cluster add", "id": name} for name in names))
        main.parts.events.end()
    told = [event for _, event in main.progress[1:] if event["kind"] == "CLUSTER_ADDED"]
    assert [event["cluster_id"] for event in told] == names


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
