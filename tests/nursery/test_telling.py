"""What a worker tells main unasked: all of it while main reads, and never at the cost of traffic."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.limits import GOODBYE
from sozu_trio.control.channel import Channel, channel_pair
from sozu_trio.control.messages import ASKS, REPORTS, Counted, Happened, Lines, Logged, Report
from sozu_trio.control.sizes import TooLarge
from sozu_trio.nursery.link import Link
from sozu_trio.nursery.telling import COUNTS_PERIOD, EVENTS, Telling
from sozu_trio.nursery.telling_lines import CHARACTERS_PER_MESSAGE, LINES_PERIOD
from sozu_trio.telemetry.counters import Counters
from sozu_trio.telemetry.lines import LineBuffer

pytestmark = pytest.mark.virtual_time


class Told:
    """A worker's telling, and main's end of it, which reads only when it is told to."""

    def __init__(self) -> None:
        self.sock, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel = Channel(self.sock, REPORTS)
        self.worker = Channel(theirs, ASKS)
        self.lines = LineBuffer(1000)
        self.counters = Counters()
        self.link = Link(self.worker)
        self.telling = Telling(self.link, self.lines, None, self.counters)

    async def heard(self) -> Report:
        received = await self.channel.receive()
        assert received is not None
        return received[0]


@asynccontextmanager
async def telling(*names: str) -> AsyncIterator[Told]:
    told = Told()
    async with trio.open_nursery() as nursery:
        for name in names:
            nursery.start_soon(told.telling.services[name])
        yield told
        nursery.cancel_scope.cancel()
    told.channel.close()
    told.worker.close()


def event(number: int) -> Happened:
    return Happened(kind="BACKEND_DOWN", backend_id=str(number))


async def test_lines_come_in_batches_a_moment_later() -> None:
    lines, dropped = list[str](), 0
    async with telling("lines") as told:
        begun = trio.current_time()
        for number in range(1000):
            told.lines.append(f"line {number}")
        told.lines.drop(5)
        while len(lines) < 1000:
            report = await told.heard()
            assert isinstance(report, Lines)
            assert 100 < report.lines.count("\n") < 1000
            lines += report.lines.split("\n")
            dropped += report.dropped
        assert trio.current_time() == begun + 2 * LINES_PERIOD
    assert lines == [f"line {number}" for number in range(1000)]
    assert dropped == 5


async def test_lines_that_come_while_others_are_sent_wait_for_the_next_time() -> None:
    async with telling("lines") as told:
        begun = trio.current_time()
        for period in range(1, 4):
            told.lines.append("first")
            told.lines.append("second")
            assert await told.heard() == Lines(lines="first\nsecond", dropped=0)
            assert trio.current_time() == begun + period * LINES_PERIOD


async def test_lines_that_main_cannot_be_told_are_counted() -> None:
    async with telling("lines") as told:
        told.link.give_up()
        told.channel.close()
        told.lines.append("nobody will read this")
        await trio.sleep(1)
    assert told.lines.dropped == 1


async def test_events_come_in_order_and_as_they_happen() -> None:
    async with telling("events") as told:
        for number in range(3):
            told.telling.happened(event(number))
            assert await told.heard() == event(number)


async def test_events_of_a_main_that_does_not_read_are_dropped_oldest_first_and_counted() -> None:
    count = 3 * EVENTS
    async with telling("events") as told:
        for number in range(count):
            told.telling.happened(event(number))
            if number % 100 == 0:
                await wait_all_tasks_blocked()
        heard = [await told.heard() for _ in range(count - told.counters.events_dropped)]
        assert told.counters.events_dropped > EVENTS
    numbers = [int(report.backend_id or "") for report in heard if isinstance(report, Happened)]
    assert len(numbers) == len(heard)
    assert numbers == sorted(numbers)
    assert numbers[-EVENTS:] == list(range(count - EVENTS, count))


async def test_events_that_happen_faster_than_anybody_runs_are_bounded() -> None:
    async with telling("events") as told:
        for number in range(EVENTS + 7):
            told.telling.happened(event(number))
        assert [await told.heard() for _ in range(EVENTS)] == [event(number) for number in range(7, EVENTS + 7)]
    assert told.counters.events_dropped == 7


async def test_at_the_end_no_event_is_lost_that_main_still_reads() -> None:
    """Also the one that was on its way when the end came."""
    heard: list[Report] = []

    async def hear(told: Told) -> None:
        await trio.sleep(5 + GOODBYE / 2)
        while len(heard) < EVENTS:
            heard.append(await told.heard())

    async with trio.open_nursery() as nursery, telling("events") as told:
        nursery.start_soon(hear, told)
        for number in range(EVENTS):
            told.telling.happened(event(number))
        await trio.sleep(5)
    assert heard == [event(number) for number in range(EVENTS)]


async def test_a_main_that_reads_nothing_delays_the_end_only_so_long() -> None:
    async with telling("events", "lines") as told:
        for number in range(EVENTS):
            told.telling.happened(event(number))
            told.lines.append("x" * 5000)
        await trio.sleep(5)
        begun = trio.current_time()
    assert trio.current_time() == begun + GOODBYE


async def test_events_that_main_cannot_be_told_are_counted() -> None:
    async with telling("events") as told:
        told.channel.close()
        told.telling.happened(event(1))
        await wait_all_tasks_blocked()
    assert told.counters.events_dropped == 1


async def test_counters_are_told_every_second_if_there_is_something_to_tell() -> None:
    async with telling("counters") as told:
        begun = trio.current_time()
        assert await told.heard() == Counted(counters=told.counters.numbers())
        assert trio.current_time() == begun + COUNTS_PERIOD
        with pytest.raises(trio.TooSlowError), trio.fail_after(100):
            await told.heard()
        told.counters.requests += 1
        with trio.fail_after(1.5 * COUNTS_PERIOD):
            assert await told.heard() == Counted(counters=Counters(requests=1).numbers())


async def test_counters_nobody_can_be_told_are_no_matter() -> None:
    async with telling("counters") as told:
        told.channel.close()
        told.counters.requests += 1
        await trio.sleep(10)
        await told.telling.count()


async def test_lines_of_a_log_of_its_own_keep_their_tracebacks() -> None:
    ours, theirs = channel_pair()
    log = LineBuffer(1000)
    telling = Telling(Link(theirs), LineBuffer(1), log, Counters())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(telling.services["log"])
        log.append("one\n\tTraceback")
        log.append("two")
        log.drop(3)
        received = await ours.receive()
        assert received == (Logged(lines=("one\n\tTraceback", "two"), dropped=3), [])
        nursery.cancel_scope.cancel(reason="enough")
    assert "log" not in Telling(Link(theirs), LineBuffer(1), None, Counters()).services
    ours.close()
    theirs.close()


async def test_lines_travel_in_messages_that_main_takes() -> None:
    async with telling("lines") as told:
        for _ in range(3):
            told.lines.append("x" * CHARACTERS_PER_MESSAGE)
        for _ in range(3):
            assert await told.heard() == Lines(lines="x" * CHARACTERS_PER_MESSAGE, dropped=0)


async def test_lines_that_main_would_not_take_are_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def check_size(document: bytes) -> None:
        if b"long" in document:
            raise TooLarge("too large")

    monkeypatch.setattr("sozu_trio.control.channel.check_size", check_size)
    async with telling("lines") as told:
        told.lines.append("long")
        await trio.sleep(1)
        told.lines.append("short")
        assert await told.heard() == Lines(lines="short", dropped=1)
