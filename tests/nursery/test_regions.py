"""Regions: each process has one for itself, and what the dead have counted is gone."""

import os
from collections.abc import Iterator

import pytest

from sozu_trio.errors import ChannelError
from sozu_trio.nursery.regions import Regions
from sozu_trio.nursery.tally import REGIONS, Tally

US = os.getpid()
INIT = 1


@pytest.fixture
def regions() -> Iterator[Regions]:
    found = Regions()
    yield found
    found.close()


def test_each_process_has_its_own(regions: Regions) -> None:
    assert regions.give(US) != regions.give(INIT)


def test_what_one_has_counted_goes_with_it(regions: Regions) -> None:
    one, other = regions.give(US), regions.give(INIT)
    ours, theirs = Tally(regions.fileno(), one), Tally(regions.fileno(), other)
    key = ours.key(b"apple")
    ours.add(key, 3)
    theirs.add(key, 4)
    assert (ours.total(key), theirs.total(key)) == (7, 7)
    regions.take_back(other, INIT)
    assert ours.total(key) == 3
    assert regions.give(INIT) == other
    assert ours.total(key) == 3


def test_only_who_has_a_region_gives_it_back(regions: Regions) -> None:
    region = regions.give(US)
    regions.take_back(region, INIT)
    assert regions.give(INIT) != region


def test_the_dead_whose_end_nobody_saw_make_room(regions: Regions) -> None:
    for _ in range(REGIONS):
        regions.give(1 << 30)
    assert regions.give(US) == 0


def test_there_is_an_end_to_it(regions: Regions) -> None:
    for _ in range(REGIONS):
        regions.give(US)
    with pytest.raises(ChannelError, match=f"{REGIONS} processes count already"):
        regions.give(US)


def test_the_next_main_goes_on_with_those_who_are_there(regions: Regions) -> None:
    kept, gone = regions.give(US), regions.give(INIT)
    tally = Tally(regions.fileno(), kept)
    other = Tally(regions.fileno(), gone)
    for each in (tally, other):
        each.add(1)
    following = Regions()
    following.go_on_with(regions.fileno(), {US})
    assert tally.total(1) == 1
    assert Tally(following.fileno(), following.give(INIT)).total(1) == 1
    following.close()


def test_no_other_memory_is_gone_on_with(regions: Regions) -> None:
    memory = os.memfd_create("small")
    with pytest.raises(ChannelError, match="another size"):
        regions.go_on_with(memory, ())
    os.close(memory)
    assert Tally(regions.fileno(), regions.give(US)).add(1)
