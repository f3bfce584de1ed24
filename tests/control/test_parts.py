"""A Delta in pieces does what it does as a whole."""

from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.clusters import HttpFrontend
from sozu_trio.control.parts import cut, joined
from sozu_trio.routing.delta import NOTHING, amend, diff, is_ordered
from sozu_trio.routing.state import State
from tests.control.states import STATES


def ordered(state: State) -> list[HttpFrontend]:
    return [frontend for frontend in state.http_frontends.values() if is_ordered(frontend)]


@settings(max_examples=60, deadline=None)
@given(STATES, STATES, st.integers(1, 20))
def test_cut_and_joined(before: State, after: State, size: int) -> None:
    delta = diff(before, after)
    parts = list(cut(delta, size))
    assert all(len(part) + len(part.declared or ()) <= size for part in parts)
    found = amend(before, *parts)
    assert found == after
    assert ordered(found) == ordered(after)
    assert joined(parts) == delta


def test_nothing_is_one_part() -> None:
    assert list(cut(NOTHING, 5)) == [NOTHING]
    assert joined([]) == NOTHING
