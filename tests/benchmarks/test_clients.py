"""What clients of our own make of the latencies they have seen."""

from benchmarks.clients import slowest


def test_the_slowest_of_so_many() -> None:
    latencies = [float(each) for each in range(10_001)]
    assert slowest(latencies, 100) == 9900
    assert slowest(latencies, 1000) == 9990


def test_no_more_than_was_seen() -> None:
    assert slowest([2.0], 1000) == 2
    assert slowest([1.0, 2.0, 3.0], 1000) <= 3
