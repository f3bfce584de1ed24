"""Earlier generations can be had again, as far back as is promised."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.clusters import Cluster
from sozu_trio.control.history import KEPT, Entry, History
from sozu_trio.errors import OperatorError
from sozu_trio.routing.delta import Delta, diff
from sozu_trio.routing.state import EMPTY, State
from tests.control.states import STATES


def entry(generation: int, delta: Delta) -> Entry:
    return Entry(generation=generation, time=0.0, uid=0, pid=1, process="test", what="change", delta=delta)


def cluster(number: int) -> Delta:
    return Delta(clusters=(Cluster(cluster_id=str(number)),))


@settings(max_examples=30, deadline=None)
@given(st.lists(STATES, min_size=1, max_size=6))
def test_every_generation(states: list[State]) -> None:
    history = History(base=states[0], base_generation=7)
    for before, after in pairwise(states):
        history = history.with_entry(entry(history.generation + 1, diff(before, after)))
    assert history.generation == 7 + len(states) - 1
    assert [history.state_at(7 + number) for number in range(len(states))] == states


def test_old_entries_become_part_of_the_base() -> None:
    history = History(base=EMPTY, base_generation=0)
    bases = set()
    for generation in range(1, 3 * KEPT + 2):
        history = history.with_entry(entry(generation, cluster(generation)))
        assert history.generation == generation
        assert min(generation, KEPT) <= len(history.entries) <= 2 * KEPT
        bases.add(history.base_generation)
    assert bases == {0, KEPT + 1}
    assert [each.generation for each in history.entries[-KEPT:]] == list(range(2 * KEPT + 2, 3 * KEPT + 2))
    oldest = history.state_at(history.base_generation)
    assert list(oldest.clusters) == [str(number) for number in range(1, history.base_generation + 1)]


def test_shortened_is_the_same_from_there_on() -> None:
    history = History(base=EMPTY, base_generation=0)
    for generation in range(1, KEPT + 3):
        history = history.with_entry(entry(generation, cluster(generation)))
    short = history.shortened()
    assert (short.base_generation, short.generation) == (2, KEPT + 2)
    assert short.state_at(5) == history.state_at(5)
    assert short.shortened() is short


@pytest.mark.parametrize("wanted", [3, 9, -1])
def test_what_is_not_remembered(wanted: int) -> None:
    history = History(base=EMPTY, base_generation=4, entries=(entry(5, cluster(5)),))
    with pytest.raises(OperatorError, match=f"generation {wanted} is not remembered; want one from 4 to 5"):
        history.state_at(wanted)


def test_a_gap_is_refused() -> None:
    with pytest.raises(ValueError, match="generation 7 does not follow 4"):
        History(base=EMPTY, base_generation=4).with_entry(entry(7, cluster(7)))
