"""Grace for the sessions of what is removed."""

import pytest

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend
from sozu_trio.routing.drains import Awaited, Drains, grace_of
from sozu_trio.routing.state import EMPTY, declare


def test_nobody_is_cut_unless_told() -> None:
    drains = Drains()
    assert (dict(drains.listeners), dict(drains.backends), dict(drains.clusters)) == ({}, {}, {})


def test_a_cluster_is_awaited_with_all_its_backends() -> None:
    here = Address("127.0.0.1", 1)
    names = [("a", "1"), ("a", "2"), ("b", "1"), ("b", "2")]
    state = declare([], [], [], [], [Backend(cluster_id=a, backend_id=b, address=here) for a, b in names])
    awaited = Awaited(clusters=frozenset({"a", "x"}), backends=frozenset({("a", "2"), ("b", "1"), ("b", "9")}))
    assert awaited.anything
    assert awaited.removed(state) == [("a", "1", here), ("a", "2", here), ("b", "1", here)]
    assert awaited.removed(EMPTY) == []
    assert not Awaited().anything


@pytest.mark.parametrize(("timeout", "grace"), [(0, None), (float("inf"), None), (30, 30), (0.5, 0.5)])
def test_zero_is_for_ever(timeout: float, grace: float | None) -> None:
    assert grace_of(timeout) == grace
