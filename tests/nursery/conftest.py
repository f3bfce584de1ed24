"""Fixtures for tests of the nursery: `pair` of sockets that are connected."""

from collections.abc import Iterator

import pytest

from tests.nursery.parts import tcp_pair
from tests.nursery.waiting import Pair


@pytest.fixture
def pair() -> Iterator[Pair]:
    """A peer, and our side of it, which does not block."""
    peer, ours = tcp_pair()
    ours.setblocking(False)
    with peer, ours:
        yield peer, ours
