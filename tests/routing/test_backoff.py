"""How long a backend that fails is left alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.routing.backoff import BackOff


def fail_in_turn(times: int, draw: float) -> list[float]:
    """The waits of a backend that is tried and fails as soon as each wait is over."""
    backoff, now, waits = BackOff(), 1000.0, []
    for _ in range(times):
        assert backoff.ready(now)
        backoff.fail(now, lambda: draw)
        waits.append(backoff.until - now)
        now = backoff.until
    return waits


def test_the_longest_wait_doubles_up_to_a_minute() -> None:
    assert fail_in_turn(9, 1.0) == [1, 1, 3, 7, 15, 31, 63, 63, 63]


def test_the_shortest_wait_is_a_second() -> None:
    assert fail_in_turn(9, 0.0) == [1] * 9


@given(st.floats(0, 1, exclude_max=True))
def test_waits_are_in_between(draw: float) -> None:
    assert fail_in_turn(7, draw) == [pytest.approx(1 + draw * most) for most in (0, 0, 2, 6, 14, 30, 62)]


def test_a_new_backend_is_ready_on_any_clock() -> None:
    assert BackOff().ready(-5.0)
    assert not BackOff().is_down


def test_it_is_ready_when_the_wait_is_over() -> None:
    backoff = BackOff()
    backoff.fail(10.0, lambda: 0.5)
    assert not backoff.ready(10.999)
    assert backoff.ready(11.0)


def test_failures_during_the_wait_are_those_already_known() -> None:
    backoff = BackOff()
    for _ in range(100):
        backoff.fail(10.0, lambda: 0.5)
    assert (backoff.failures, backoff.until) == (1, 11.0)


def test_it_is_down_after_six_failures_and_up_after_one_success() -> None:
    backoff, downs = BackOff(), []
    for now in range(0, 700, 100):
        backoff.fail(float(now), lambda: 0.0)
        downs.append(backoff.is_down)
    assert downs == [False] * 5 + [True] * 2
    assert backoff.ready(601.0)
    backoff.succeed()
    assert (backoff.failures, backoff.is_down, backoff.ready(0.0)) == (0, False, True)


def test_after_a_success_it_begins_anew() -> None:
    backoff = BackOff()
    for now in range(0, 500, 100):
        backoff.fail(float(now), lambda: 0.0)
    backoff.succeed()
    backoff.fail(500.0, lambda: 1.0)
    assert (backoff.failures, backoff.until) == (1, 501.0)


def test_one_that_is_barred_is_never_ready() -> None:
    back_off = BackOff()
    back_off.bar()
    assert not back_off.ready(1e12)
    back_off.fail(1e12, lambda: 0.5)
    assert (back_off.failures, back_off.ready(1e12)) == (1, False)
