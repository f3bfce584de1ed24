"""What is looked at beside a fuzzer, and what of it is a failure."""

import pytest

from benchmarks.fuzz_beside import SLOWEST, Beside, delay, growth


@pytest.mark.parametrize(("sizes", "flat"), [([], True), ([50, 60, 55], True), ([50, 90, 51], True), ([50, 67], False)])
def test_memory(sizes: list[int], flat: bool) -> None:
    assert (list(growth(Beside(rss=[size << 20 for size in sizes]))) == []) == flat


def test_traffic_that_waits_is_no_success() -> None:
    assert list(delay(Beside(slowest=SLOWEST))) == []
    assert list(delay(Beside(slowest=SLOWEST + 0.1))) == ["a request of the traffic took more than 1 s"]
