"""What a certificate's record shows, and when its end is near."""

import itertools

import pytest

from sozu_trio.config.certificates import DAY, days_left, expiry_passed
from tests.tls.parts import NOW, issue


def test_the_key_is_never_shown() -> None:
    certificate = issue("example.com").read()
    assert "PRIVATE KEY" in certificate.key
    assert "PRIVATE KEY" not in repr(certificate)
    assert certificate.key.splitlines()[1] not in f"{certificate}"


@pytest.mark.parametrize(("seconds", "days"), [(DAY * 30, 30), (DAY - 1, 0), (0, 0), (-1, -1), (-DAY - 1, -2)])
def test_days_are_whole(seconds: int, days: int) -> None:
    certificate = issue("example.com", begin=NOW - 9 * DAY, end=NOW + seconds).read(NOW - 8 * DAY)
    assert days_left(certificate, NOW) == days


def test_each_step_towards_the_end_is_told_once() -> None:
    certificate = issue("example.com", end=NOW + 40 * DAY).read()
    looks = [NOW + hours * 3600 for hours in range(0, 41 * 24, 7)]
    told = [
        (days, days_left(certificate, now))
        for before, now in itertools.pairwise(looks)
        for days in expiry_passed(certificate, before, now)
    ]
    assert told == [(30, 29), (7, 6), (1, 0)]


def test_one_that_was_not_looked_at_for_long_passes_several_at_once() -> None:
    certificate = issue("example.com", end=NOW + 40 * DAY).read()
    assert list(expiry_passed(certificate, NOW, NOW + 50 * DAY)) == [30, 7, 1]
    assert list(expiry_passed(certificate, NOW + 10 * DAY, NOW + 10 * DAY)) == []
