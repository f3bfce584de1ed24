"""A Delta in pieces does what it does as a whole."""

from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.addresses import Address
from sozu_trio.config.certificates import ListenerCertificate
from sozu_trio.config.clusters import HttpFrontend
from sozu_trio.control.parts import cut, joined
from sozu_trio.routing.delta import NOTHING, Delta, amend, diff, is_ordered
from sozu_trio.routing.state import State
from tests.control.states import STATES
from tests.tls.parts import issue


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


def test_certificates_are_larger() -> None:
    record = ListenerCertificate(address=Address("127.0.0.1", 443), certificate=issue("a.example").read())
    few, more = Delta(certificates=(record,) * 2), Delta(certificates=(record,) * 5, gone_clusters=("a",) * 3)
    assert list(cut(few, 10, 2)) == [few]
    assert [(len(part.gone_clusters), len(part.certificates)) for part in cut(more, 10, 2)] == [
        (3, 0),
        (0, 2),
        (0, 2),
        (0, 1),
    ]
    assert joined(cut(more, 10, 2)) == more


def test_nothing_is_one_part() -> None:
    assert list(cut(NOTHING, 5)) == [NOTHING]
    assert joined([]) == NOTHING
