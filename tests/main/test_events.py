"""Events: what a change is told as, and what becomes of those who do not keep up."""

from dataclasses import replace

import pytest
import trio

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster, HttpFrontend, TcpFrontend
from sozu_trio.config.listeners import HttpListener
from sozu_trio.config.program import Settings
from sozu_trio.main.events import WAITING, Event, Events, events_of
from sozu_trio.routing.delta import Delta, diff
from sozu_trio.routing.state import EMPTY, State, declare

ADDRESS = Address("127.0.0.1", 80)
LISTENER = HttpListener(address=ADDRESS, active=False)
RULE = HttpFrontend(address=ADDRESS, hostname="a.example", cluster_id="a")
STATE = declare(
    [LISTENER],
    [Cluster(cluster_id="a")],
    [RULE],
    [TcpFrontend(address=Address("127.0.0.1", 81), cluster_id="a")],
    [Backend(cluster_id="a", backend_id="b", address=ADDRESS)],
    Settings(log_level="debug"),
)


def told(before: State, delta: Delta) -> list[str]:
    return [event.kind for event in events_of(before, delta)]


def test_everything_new() -> None:
    assert told(EMPTY, diff(EMPTY, STATE)) == [
        *("LISTENER_ADDED", "CLUSTER_ADDED", "FRONTEND_ADDED", "FRONTEND_ADDED"),
        "LOGGING_LEVEL_CHANGED",
    ]


def test_everything_gone() -> None:
    assert told(STATE, diff(STATE, EMPTY)) == [
        *("LISTENER_REMOVED", "CLUSTER_REMOVED", "FRONTEND_REMOVED", "FRONTEND_REMOVED", "LOGGING_LEVEL_CHANGED")
    ]


@pytest.mark.parametrize(
    ("delta", "kinds"),
    [
        (Delta(listeners=(replace(LISTENER, active=True),)), ["LISTENER_ACTIVATED"]),
        (Delta(listeners=(replace(LISTENER, via="x"),)), ["LISTENER_UPDATED"]),
        (Delta(settings=replace(STATE.settings)), []),
        (Delta(), []),
    ],
)
def test_what_changes(delta: Delta, kinds: list[str]) -> None:
    assert told(STATE, delta) == kinds


def test_an_event_says_only_what_applies() -> None:
    assert Event(kind="BACKEND_DOWN", cluster_id="a", backend_id="b", address=ADDRESS).document(0.25) == {
        "kind": "BACKEND_DOWN",
        "time": "1970-01-01T00:00:00.250000Z",
        "cluster_id": "a",
        "backend_id": "b",
        "address": "127.0.0.1:80",
    }


async def test_everybody_who_listens_hears_all_of_it() -> None:
    events = Events(clock=lambda: 0.0)
    events.tell(Event(kind="TOO_EARLY"))
    with events.listen() as one, events.listen() as other:
        events.tell(Event(kind="A"))
        events.tell(Event(kind="B"))
        for each in (one, other):
            assert [(await each.receive())["kind"], (await each.receive())["kind"]] == ["A", "B"]


async def test_who_does_not_keep_up_is_let_go_and_costs_nobody_else_anything() -> None:
    events = Events(clock=lambda: 0.0)
    with events.listen() as slow, events.listen() as quick:
        for number in range(WAITING + 1):
            events.tell(Event(kind=str(number)))
            assert (await quick.receive())["kind"] == str(number)
        heard = [event["kind"] async for event in slow]
        assert heard == [str(number) for number in range(WAITING)]
        with trio.move_on_after(0):
            await quick.receive()


async def test_who_has_gone_is_told_nothing() -> None:
    events = Events(clock=lambda: 0.0)
    with events.listen():
        pass
    events.tell(Event(kind="A"))


async def test_the_end_is_heard_after_everything_else_and_by_those_who_come_later() -> None:
    events = Events(clock=lambda: 0.0)
    with events.listen() as early:
        events.tell(Event(kind="A"))
        events.end()
        with events.listen() as late:
            assert [event["kind"] async for event in early] == ["A"]
            assert [event async for event in late] == []
