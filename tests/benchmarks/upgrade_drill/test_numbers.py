"""Numbers that come back in order, or not."""

from collections.abc import Sequence

import pytest

from benchmarks.upgrade_drill.numbers import Numbers


def heard(sent: int, back: Sequence[int]) -> tuple[int, int]:
    """Lost and disordered."""
    numbers = Numbers()
    assert [numbers.send() for _ in range(sent)] == list(range(sent))
    for number in back:
        numbers.hear(number)
    return numbers.lost, numbers.disordered


@pytest.mark.parametrize(
    ("back", "wanted"),
    [
        pytest.param([0, 1, 2, 3], (0, 0), id="all"),
        pytest.param([0, 1, 2], (1, 0), id="the last is lost"),
        pytest.param([0, 2, 3], (1, 0), id="one is lost"),
        pytest.param([], (4, 0), id="all are lost"),
        pytest.param([0, 2, 1, 3], (0, 1), id="two changed places"),
        pytest.param([3, 0, 1, 2], (0, 3), id="the last comes first"),
        pytest.param([0, 1, 1, 2, 3], (0, 1), id="doubled"),
        pytest.param([0, 1, 2, 3, 4], (0, 1), id="never sent"),
        pytest.param([0, 2, 1, 1, 3], (0, 2), id="late and doubled"),
    ],
)
def test_judged(back: Sequence[int], wanted: tuple[int, int]) -> None:
    assert heard(4, back) == wanted


def test_its_turn() -> None:
    numbers = Numbers()
    numbers.send()
    numbers.send()
    assert [numbers.hear(number) for number in (0, 1, 0)] == [True, True, False]
