"""Events: told at once, heard in one's own time; and what becomes of those who do not keep up."""

import pytest
import trio
import trio.testing

from sozu_trio.config.addresses import Address
from sozu_trio.main.events import MOST, WAITING, Event, Events

ADDRESS = Address("127.0.0.1", 80)


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


async def test_a_telling_of_any_size_is_heard_by_who_reads_it() -> None:
    events = Events(clock=lambda: 0.0)
    many = [Event(kind=str(number)) for number in range(3 * WAITING)]
    with events.listen() as one, events.listen() as other:
        for _ in range(2):
            events.tell(*many)
            assert one.waiting == len(many)
            assert [(await one.receive())["kind"] for _ in many] == [event.kind for event in many]
        assert (one.waiting, other.waiting) == (0, 2 * len(many))
        assert [other.receive_nowait()["kind"] for _ in range(2 * len(many))] == [event.kind for event in many] * 2
        for hearing in (one, other):
            with pytest.raises(trio.WouldBlock):
                hearing.receive_nowait()


async def test_who_reads_nothing_of_large_tellings_is_let_go_and_what_waits_is_bounded() -> None:
    events = Events(clock=lambda: 0.0)
    many = [Event(kind="A")] * (MOST // 2)
    with events.listen() as slow, events.listen() as quick:
        for size in (MOST // 2, MOST // 2 - 1, 2, 1):
            events.tell(*many[:size])
            assert [quick.receive_nowait()["kind"] for _ in range(size)] == ["A"] * size
        assert slow.waiting == MOST + 1
        assert len([slow.receive_nowait() for _ in range(MOST + 1)]) == MOST + 1
        with pytest.raises(trio.EndOfChannel):
            await slow.receive()
        with pytest.raises(trio.WouldBlock):
            quick.receive_nowait()


async def test_every_event_heard_lets_others_run() -> None:
    events = Events(clock=lambda: 0.0)
    with events.listen() as hearing:
        events.tell(Event(kind="A"), Event(kind="B"))
        for _ in range(2):
            with trio.testing.assert_checkpoints():
                await hearing.receive()


async def test_nothing_told_is_nothing_heard() -> None:
    events = Events(clock=lambda: 0.0)
    with events.listen() as hearing:
        events.tell()
        assert hearing.waiting == 0


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


async def test_an_end_says_why_and_may_be_taken_back() -> None:
    events = Events(clock=lambda: 0.0)
    events.end("main is replaced: ask again")
    assert events.ended == "main is replaced: ask again"
    events.begin_again()
    assert events.ended is None
    with events.listen() as again:
        events.tell(Event(kind="A"))
        assert (await again.receive())["kind"] == "A"
