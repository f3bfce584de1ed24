"""When a worker has too much to do: not by a stall, by a lag that stays; and whom it turns away then."""

import time

import pytest
import trio

from sozu_trio.nursery import overload as module
from sozu_trio.nursery.overload import (
    AT_ONCE,
    BATCH,
    BATCH_OF_OVERLOADED,
    CALM,
    QUEUE_SHARE,
    WINDOW,
    WINDOWS,
    Overload,
    queued,
)
from tests.nursery.overloading import LIMIT, overwhelm
from tests.nursery.parts import connected, listening

BEGUN = 1000.0


class Watched:
    """One that allows LIMIT, and what it has told."""

    def __init__(self) -> None:
        self.told: list[bool] = []
        self.overload = Overload(self.told.append)
        self.overload.limit = LIMIT
        self.now = BEGUN
        self.overload.look(self.now)

    def passes(self, took: float, idle: float, seconds: float) -> None:
        """For `seconds` passes of `took`, each with a rest of `idle` after it."""
        end = self.now + seconds
        while self.now < end:
            self.overload.passed(took)
            self.now += took + idle
            self.overload.look(self.now)


def test_long_passes_one_after_the_other_are_overload_and_calm_ends_it(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched()
    watched.passes(2 * LIMIT, 0, 0.2)
    assert (watched.told, watched.overload.batch) == ([True], BATCH_OF_OVERLOADED)
    watched.passes(LIMIT / 10, LIMIT, 0.9 * CALM)
    assert watched.told == [True]
    watched.passes(LIMIT / 10, LIMIT, 0.2)
    assert (watched.told, watched.overload.batch) == ([True, False], BATCH)
    assert [record.message.split(":")[0] for record in caplog.records] == ["overloaded", "not overloaded any more"]


@pytest.mark.parametrize("idle", [0, LIMIT])
def test_short_passes_are_none_however_many(idle: float) -> None:
    watched = Watched()
    watched.passes(LIMIT / 2, idle, 3)
    assert watched.told == []


def test_a_stall_is_none_however_long() -> None:
    watched = Watched()
    for _ in range(WINDOWS - 1):
        watched.passes(1.0, 0, 0.5)
    watched.passes(LIMIT / 10, 0, 1)
    assert watched.told == []


def test_half_of_the_lag_keeps_it_from_ending() -> None:
    watched = Watched()
    watched.passes(2 * LIMIT, 0, 0.2)
    watched.passes(0.7 * LIMIT, 0, 3 * CALM)
    assert watched.told == [True]
    watched.passes(0.4 * LIMIT, 0, 2 * CALM)
    assert watched.told == [True, False]


def test_it_is_not_over_while_anybody_is_turned_away() -> None:
    watched = Watched()
    watched.passes(2 * LIMIT, 0, 0.2)
    for _ in range(30):
        watched.passes(LIMIT / 10, LIMIT, 0.1)
        watched.overload.turned_away()
    assert watched.told == [True]
    watched.passes(LIMIT / 10, LIMIT, 1.2 * CALM)
    assert watched.told == [True, False]


def test_who_waits_in_the_queue_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Passes are short because few are taken in each."""
    waiting = 0
    monkeypatch.setattr(module, "queued", lambda _: waiting)
    with listening() as sock:
        for number, told in ((BATCH, []), (20 * BATCH, [True])):
            waiting, watched = number, Watched()
            for _ in range(100):
                watched.passes(LIMIT / 5, 0, LIMIT / 5)
                watched.overload.fell_behind(sock)
            assert watched.told == told


def test_the_queue_is_kept_as_short_as_the_lag_that_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "queued", lambda _: 100)
    with listening() as sock:
        watched = Watched()
        assert watched.overload.admission(sock) == (0, BATCH)
        watched.passes(2 * LIMIT, 0, 0.2)
        few = BATCH_OF_OVERLOADED
        assert watched.overload.admission(sock) == (100 - few, few)  # these do not wait
        watched.overload.passed(LIMIT * QUEUE_SHARE / 4)
        assert watched.overload.admission(sock) == (100 - 4 * few, few)
        watched.overload.passed(LIMIT * QUEUE_SHARE / 1000)
        assert watched.overload.admission(sock) == (0, few)
        monkeypatch.setattr(module, "queued", lambda _: 10 * AT_ONCE)
        watched.overload.passed(LIMIT)
        assert watched.overload.admission(sock) == (AT_ONCE, 0)  # the next ones have waited for too long, too


def test_the_kernel_says_how_many_wait() -> None:
    with listening() as sock:
        assert queued(sock) == 0
        with connected(sock, 3):
            assert queued(sock) == 3
    assert queued(sock) == 0  # closed: nobody


async def test_passes_of_the_loop_are_measured_while_there_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """By the clock of `time`, whose seconds are told here."""
    now = BEGUN
    monkeypatch.setattr(time, "perf_counter", lambda: now)

    async def hold(times: int) -> None:
        nonlocal now
        for _ in range(times):
            now += WINDOW
            await trio.lowlevel.checkpoint()

    told: list[bool] = []
    with Overload(told.append) as overload:
        await hold(10)
        overload.follow(1)
        await hold(10)
        assert told == [True]
        overload.follow(0)
        assert told == [True, False]
        await hold(10)
        overload.follow(1)
        overload.follow(2)
        await hold(10)
    assert told == [True, False, True, False]
    await hold(10)
    assert told == [True, False, True, False]


def test_one_that_is_overwhelmed() -> None:
    overload = Overload()
    assert overwhelm(overload) > BEGUN
