"""One worker does not have all of main's time."""

import time

import pytest
import trio

from sozu_trio.nursery.attention import AT_ONCE, MESSAGE, SHARE, Attention

pytestmark = pytest.mark.virtual_time


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """No time passes while a message is read, but what a test says."""
    monkeypatch.setattr(time, "perf_counter", lambda: 100.0)


async def test_a_burst_is_read_at_once_and_what_follows_in_its_share_of_the_time() -> None:
    attention, burst = Attention(), round(AT_ONCE / MESSAGE)
    begun = trio.current_time()
    for _ in range(burst - 1):
        await attention.pay(100.0)
    assert trio.current_time() == begun
    for _ in range(1000):
        await attention.pay(100.0)
    assert trio.current_time() - begun == pytest.approx(999 * MESSAGE / SHARE)


async def test_a_message_that_took_long_is_followed_by_a_pause() -> None:
    attention = Attention()
    begun = trio.current_time()
    await attention.pay(100.0 - AT_ONCE - 2)
    assert trio.current_time() - begun == pytest.approx(2 / SHARE)


async def test_who_is_silent_may_speak_as_long_as_in_the_beginning_and_no_longer() -> None:
    attention = Attention()
    await attention.pay(100.0 - AT_ONCE)
    await trio.sleep(1000)
    begun = trio.current_time()
    await attention.pay(100.0 - AT_ONCE)
    assert trio.current_time() == begun
    await attention.pay(100.0 - 1)
    assert trio.current_time() - begun == pytest.approx(1 / SHARE)
