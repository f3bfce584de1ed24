"""What every line begins with."""

import os

from hypothesis import given
from hypothesis import strategies as st

from sozu_trio.telemetry.stamp import Stamp


def test_a_line_begins_with_time_process_level_and_tag() -> None:
    line = Stamp("WRK-00").line(1769860800.25, "INFO", "hello")
    assert line == f"2026-01-31T12:00:00.250000Z {os.getpid()} INFO WRK-00\thello"


def test_the_second_is_followed_forwards_and_backwards() -> None:
    stamp = Stamp("MAIN")
    assert [stamp.time(moment) for moment in (0.0, 59.5, 59.75, 60.0, 59.25)] == [
        "1970-01-01T00:00:00.000000Z",
        "1970-01-01T00:00:59.500000Z",
        "1970-01-01T00:00:59.750000Z",
        "1970-01-01T00:01:00.000000Z",
        "1970-01-01T00:00:59.250000Z",
    ]


@given(st.floats(0, 4e9))
def test_every_time_has_the_same_width(moment: float) -> None:
    assert len(Stamp("MAIN").time(moment)) == len("2026-01-31T12:00:00.000042Z")


def test_colours_are_for_the_level_only() -> None:
    line = Stamp("MAIN", colored=True).line(0, "WARN", "careful")
    assert line == f"1970-01-01T00:00:00.000000Z {os.getpid()} \x1b[33mWARN\x1b[0m MAIN\tcareful"
