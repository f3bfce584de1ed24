"""Grace for the sessions of what is removed."""

from sozu_trio.routing.drains import Drains


def test_nobody_is_cut_unless_told() -> None:
    assert (dict(Drains().listeners), dict(Drains().backends)) == ({}, {})
