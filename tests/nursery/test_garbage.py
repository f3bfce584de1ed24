"""What stays for good is frozen, and freed all the same when nobody has it any more."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from sozu_trio.nursery.garbage import LARGE, THRESHOLDS, begin_to_serve, keep


class Something:
    """What can be asked for, dead or alive."""


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Whatever was frozen is thawed, before as well: what an earlier test has frozen may be freed at any moment."""
    thresholds = gc.get_threshold()
    gc.unfreeze()
    yield
    gc.set_threshold(*thresholds)
    gc.unfreeze()


def test_what_a_large_change_made_is_not_looked_at_again() -> None:
    kept, cycle = Something(), Something()
    cycle.itself = cycle  # type: ignore[attr-defined]
    dead, leaked = weakref.ref(kept), weakref.ref(cycle)
    frozen = gc.get_freeze_count()
    keep(LARGE - 1)
    assert gc.get_freeze_count() == frozen
    keep(LARGE)
    assert gc.get_freeze_count() > frozen
    del kept, cycle
    assert dead() is None
    gc.collect()
    assert leaked() is not None, "a cycle is what it costs"


def test_who_begins_to_serve_is_rid_of_garbage_and_meets_full_collections_rarely() -> None:
    cycle = Something()
    cycle.itself = cycle  # type: ignore[attr-defined]
    garbage = weakref.ref(cycle)
    frozen = gc.get_freeze_count()
    del cycle
    begin_to_serve()
    assert garbage() is None
    assert gc.get_threshold() == THRESHOLDS
    assert gc.get_freeze_count() > frozen
