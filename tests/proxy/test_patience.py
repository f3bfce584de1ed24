"""Deadlines by the wheel: never early, at most a grain late, and only where somebody is waited for."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from sozu_trio.proxy.patience import GRAIN, Patience, Wheel
from sozu_trio.proxy.stream import Stream
from tests.nursery.parts import tcp_pair

pytestmark = pytest.mark.virtual_time


@asynccontextmanager
async def turning() -> AsyncIterator[Wheel]:
    """A wheel that runs."""
    wheel = Wheel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wheel.run)
        yield wheel
        nursery.cancel_scope.cancel(reason="seen")


async def sleep_under(patience: Patience, seconds: float) -> float:
    """How long a sleep lasted under a patience of so many seconds."""
    begun = trio.current_time()
    with patience:
        patience.limit(seconds)
        await trio.sleep_forever()
    return trio.current_time() - begun


@pytest.mark.parametrize("seconds", [0.01, 0.1, 1, 7.77, 60, 3600])
async def test_a_deadline_is_never_early_and_at_most_a_grain_late(seconds: float) -> None:
    async with turning() as wheel:
        patience = wheel.patience()
        assert seconds <= await sleep_under(patience, seconds) <= seconds + GRAIN + 1e-6
        assert (patience.expired, patience.spent) == (True, True)


async def test_many_deadlines_in_any_order() -> None:
    lasted: dict[float, float] = {}

    async def wait(wheel: Wheel, seconds: float) -> None:
        lasted[seconds] = await sleep_under(wheel.patience(), seconds)

    async with turning() as wheel, trio.open_nursery() as nursery:
        for seconds in (30, 1, 5.05, 5, 0.5, 2000, 10):
            nursery.start_soon(wait, wheel, seconds)
    assert all(seconds <= taken <= seconds + GRAIN + 1e-6 for seconds, taken in lasted.items())
    assert len(lasted) == 7


async def test_a_deadline_that_moves_on_holds_where_it_is_now() -> None:
    async with turning() as wheel:
        patience = wheel.patience()
        begun = trio.current_time()
        with patience:
            for _ in range(20):
                patience.limit(5)
                await trio.sleep(3)
            patience.limit(5)
            await trio.sleep_forever()
        assert 65 <= trio.current_time() - begun <= 65 + GRAIN + 1e-6


async def test_a_deadline_that_comes_nearer_holds() -> None:
    async with turning() as wheel:
        patience = wheel.patience()
        begun = trio.current_time()
        with patience:
            patience.limit(100)
            await trio.sleep(1)
            patience.limit(2)
            await trio.sleep_forever()
        assert 3 <= trio.current_time() - begun <= 3 + GRAIN + 1e-6


async def test_zero_is_for_ever_and_so_is_a_wait_that_is_over() -> None:
    async with turning() as wheel:
        with wheel.patience() as patience:
            patience.limit(1)
            patience.limit(0)
            await trio.sleep(10)
            patience.limit(1)
            patience.relax()
            await trio.sleep(10)
        assert not patience.spent
        assert patience.deadline == math.inf


async def test_held_it_has_no_deadline_and_resumed_the_wait_has_its_whole_time() -> None:
    peer, ours = tcp_pair()
    async with turning() as wheel:
        with peer, ours:
            stream = Stream(ours, 5)
            patience = wheel.patience()
            patience.hold()
            begun = trio.current_time()

            async def resume() -> None:
                await trio.sleep(100)
                patience.resume()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(resume)
                with patience:
                    await stream.receive(1, patience)
            assert patience.expired
            assert 105 <= trio.current_time() - begun <= 105 + GRAIN + 1e-6


async def test_resumed_while_nobody_is_waited_for_it_has_no_deadline() -> None:
    async with turning() as wheel:
        with wheel.patience() as patience:
            patience.hold()
            patience.resume()
            await trio.sleep(1000)
        assert not patience.spent


async def test_after_its_end_nothing_is_cancelled() -> None:
    async with turning() as wheel:
        with wheel.patience() as patience:
            patience.limit(1)
        await trio.sleep(10)
        assert not patience.spent


async def test_cancelled_for_another_reason_it_has_not_expired() -> None:
    async with turning() as wheel:
        with wheel.patience() as patience:
            patience.limit(10)
            patience.cancel("the client has gone")
            await trio.sleep_forever()
        assert (patience.expired, patience.spent, patience.scope.cancelled_caught) == (False, True, True)
