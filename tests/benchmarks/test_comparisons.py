"""What is compared: every work can be asked for, and every bar is one of a relay that is measured."""

import pytest

from benchmarks.comparisons import BARS, COMPARED, OURS, works_of
from benchmarks.peers import PEERS


@pytest.mark.parametrize("name", COMPARED)
def test_every_work_can_be_asked_for(name: str) -> None:
    assert all(work.body and work.size for work in works_of(name, b"big").values())
    assert COMPARED[name][0] == OURS
    assert set(BARS[name]) <= set(COMPARED[name]) <= set(PEERS)
