"""Lines of a worker are written as its own or not at all."""

import pytest

from sozu_trio.control.messages import Lines, Logged
from sozu_trio.errors import ChannelError
from sozu_trio.nursery.own_lines import own_lines
from sozu_trio.telemetry.claims import Claims

CLAIMS = Claims(3, 4711)
STAMP = "2026-01-31T12:00:00.000042Z 4711 {} WRK-03\t"
ACCESS, LOG = STAMP.format("INFO-ACCESS"), STAMP.format("WARN")


@pytest.mark.parametrize(
    "report",
    [
        Lines(lines=f"{ACCESS}a\n{ACCESS}b", dropped=3),
        Lines(lines="", dropped=3),
        Logged(lines=(f"{LOG}a\n\tat", f"{LOG}b"), dropped=0),
        Logged(lines=(), dropped=3),
    ],
)
def test_its_own_stay_as_they_are(report: Lines | Logged) -> None:
    assert own_lines(report, CLAIMS) == report


def test_what_is_not_printable_is_escaped() -> None:
    report = own_lines(Logged(lines=(f"{LOG}\x1b[2J",), dropped=1), CLAIMS)
    assert report == Logged(lines=(f"{LOG}\\x1b[2J",), dropped=1)


@pytest.mark.parametrize(
    "report",
    [
        Lines(lines=LOG, dropped=0),
        Logged(lines=(ACCESS,), dropped=0),
        Logged(lines=("",), dropped=0),
        Lines(lines=f"{ACCESS}a\n", dropped=0),
        Lines(lines='{"a":' * 20_000, dropped=0),
    ],
)
def test_those_of_others_make_no_sense(report: Lines | Logged) -> None:
    with pytest.raises(ChannelError, match="it sends "):
        own_lines(report, CLAIMS)
