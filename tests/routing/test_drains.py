"""Grace for the sessions of what is removed."""

import pytest

from sozu_trio.routing.drains import Drains, grace_of


def test_nobody_is_cut_unless_told() -> None:
    assert (dict(Drains().listeners), dict(Drains().backends)) == ({}, {})


@pytest.mark.parametrize(("timeout", "grace"), [(0, None), (float("inf"), None), (30, 30), (0.5, 0.5)])
def test_zero_is_for_ever(timeout: float, grace: float | None) -> None:
    assert grace_of(timeout) == grace
