"""What a worker tells main of itself: its sessions, what it has counted, the tree of what lives."""

import dataclasses

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.control.channel import INLINE_SIZE
from sozu_trio.control.messages import (
    Happened,
    Kill,
    Look,
    Stop,
    Stopped,
    Unlisten,
)
from sozu_trio.control.sizes import LARGEST_REPLY
from tests.nursery.parts import connected, listening
from tests.nursery.worker_parts import ADDRESS, is_closed, names_in, started

pytestmark = pytest.mark.virtual_time


async def test_one_session_is_killed_by_name_and_the_others_go_on() -> None:
    async with started() as main:
        with listening() as first, listening() as second:
            await main.listen(first)
            await main.listen(second, Address("127.0.0.1", 1))
            with connected(first) as others, connected(second) as clients:
                await wait_all_tasks_blocked()
                (victim,) = [each["id"] for each in await main.look("sessions") if each["listener"] == "127.0.0.1:1"]
                assert await main.ask(Kill(serial=5, session="session-7")) is None
                assert main.content is False
                assert await main.ask(Kill(serial=6, session=victim)) is None
                assert main.content is True
                await wait_all_tasks_blocked()
                assert (is_closed(clients[0]), is_closed(others[0])) == (True, False)
                assert await main.ask(Kill(serial=7, session=victim)) is None
                assert main.content is False
                await main.ask(Stop(serial=8, grace=None))
                assert await main.says() == Stopped(cut=0)


async def test_counters_are_told_before_they_are_asked_for_and_before_the_end() -> None:
    async with started() as main:
        with listening() as sock:
            await main.listen(sock)
            with connected(sock, 2):
                await wait_all_tasks_blocked()
                looked = await main.look("counters")
                assert (looked["counters"]["client.connections"], looked["listeners"]) == (2, {"127.0.0.1:8080": 2})
                assert main.counters == main.handler.counters
            await wait_all_tasks_blocked()
        main.handler.counters.requests = 7
        await main.ask(Stop(serial=4, grace=None))
        assert await main.says() == Stopped(cut=0)
    assert main.counters is not None
    assert (main.counters.requests, main.counters.sessions, main.counters.sessions_total) == (7, 0, 2)


async def test_the_tree_has_everything_that_lives() -> None:
    async with started() as main:
        with listening() as sock:
            await main.listen(sock)
            with connected(sock):
                await trio.sleep(5)
                tree = await main.look("tree")
        assert (tree["name"], tree["kind"], tree["age"]) == ("worker 3", "worker", 5)
        *services, listener = tree["children"]
        assert {each["name"] for each in services} == {"lines", "events", "counters", "pool", "control"}
        assert {each["kind"] for each in services} == {"service"}
        assert listener["name"] == "listener tcp 127.0.0.1:8080"
        assert names_in(listener)[1:] == ["accepting", "connections", "session-1"]
        main.channel.close()


async def test_who_is_left_and_who_was_cut_at_a_listener_that_drains() -> None:
    async with started() as main:
        with listening() as sock:
            await main.listen(sock)
            with connected(sock, 2) as clients:
                for client in clients:
                    client.sendall(b"busy")
                await trio.sleep(1)
                assert await main.look("drains") == {}
                await main.ask(Unlisten(serial=2, transport="tcp", address=ADDRESS, grace=5))
                drain = {"sessions": 2, "websocket": 0, "tcp": 0, "cut": 0}
                assert await main.look("drains") == {"127.0.0.1:8080": drain}
                await trio.sleep(6)
                assert await main.look("drains") == {"127.0.0.1:8080": {**drain, "sessions": 0, "cut": 2}}
        main.channel.close()


async def test_what_the_worker_does_not_know_is_asked_of_the_handler() -> None:
    async with started() as main:
        assert await main.look("weather", where="here") == {"asked": {"where": "here"}, "answer": "x"}
        assert len((await main.look("weather", size=2 * INLINE_SIZE))["answer"]) == 2 * INLINE_SIZE
        assert await main.ask(Look(serial=2, what="future", query={})) == "nobody knows the future"
        main.channel.close()


async def test_an_answer_that_main_would_not_take_is_refused() -> None:
    async with started() as main:
        refusal = await main.ask(Look(serial=2, what="weather", query={"size": LARGEST_REPLY}))
        assert refusal is not None
        assert "larger than any of its kind" in refusal
        assert (await main.look("weather", size=1))["answer"] == "x"
        main.channel.close()


async def test_events_of_the_handler_reach_main() -> None:
    event = Happened(kind="BACKEND_UP", cluster_id="api", backend_id="b", address=ADDRESS)
    async with started() as main:
        main.handler.tell(event)
        await main.look("counters")
        await main.look("counters")
        assert main.events == [dataclasses.replace(event, details="worker 3")]
        main.channel.close()
