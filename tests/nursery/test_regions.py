"""Regions: each process has one for itself, and what the dead have counted is gone."""

import fcntl
import mmap
import os
from collections.abc import Iterator

import pytest

from sozu_trio.errors import ChannelError
from sozu_trio.nursery.regions import Regions
from sozu_trio.nursery.tally import PAGE, REGION, REGIONS, SIZE, Tally

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
    ours, theirs = Tally(regions.descriptors, one), Tally(regions.descriptors, other)
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


def test_the_next_main_makes_memory_of_its_own_and_all_go_on_there(regions: Regions) -> None:
    tallies = [Tally(regions.descriptors, regions.give(pid)) for pid in (US, INIT)]
    key = tallies[0].key(b"apple")
    for tally in tallies:
        tally.add(key, 2)
    following = Regions()
    following.keep_secret(tallies[1].secret)
    for tally, pid in zip(tallies, (US, INIT), strict=True):
        tally.move(following.descriptors, following.give(pid))
    assert [tally.total(key) for tally in tallies] == [4, 4]
    tallies[0].give(key)
    latest = Tally(following.descriptors, following.give(INIT))
    assert (latest.key(b"apple"), latest.total(key)) == (key, 3)
    following.close()


def test_nobody_cuts_it_short_or_makes_it_anything_else(regions: Regions) -> None:
    for memory in regions.memories:
        for size in (0, os.fstat(memory.fileno()).st_size + 1):
            with pytest.raises(PermissionError):
                os.ftruncate(memory.fileno(), size)
        with pytest.raises(PermissionError):
            fcntl.fcntl(memory.fileno(), fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)


def test_only_main_writes_in_the_directory_whoever_opens_it(regions: Regions) -> None:
    directory = regions.descriptors[0]
    again = os.open(f"/proc/self/fd/{directory}", os.O_RDWR)
    for descriptor in (directory, again):
        with pytest.raises(PermissionError):
            os.pwrite(descriptor, b"1", 0)
        with pytest.raises(PermissionError):
            mmap.mmap(descriptor, PAGE)
    with mmap.mmap(again, PAGE, prot=mmap.PROT_READ) as mapped, pytest.raises(PermissionError):
        mapped.madvise(mmap.MADV_REMOVE)
    os.close(again)
    region = regions.give(US)
    assert Tally(regions.descriptors, region).add(1)


def test_a_region_is_empty_whatever_was_written_there_before_it_was_given(regions: Regions) -> None:
    with mmap.mmap(regions.descriptors[1], SIZE) as all_of_it:
        all_of_it[: 2 * REGION] = b"\1" * (2 * REGION)
        one, other = (Tally(regions.descriptors, regions.give(pid)) for pid in (US, INIT))
        assert all_of_it[: 2 * REGION].count(0) == 2 * REGION
    assert one.total(1) == other.total(1) == 0


def test_it_goes_on_for_ever(regions: Regions) -> None:
    tally = Tally(regions.descriptors, regions.give(US))
    tally.add(1)
    assert tally.total(1) == 1
    regions._version = (1 << 64) - 1
    other = Tally(regions.descriptors, regions.give(INIT))
    other.add(1)
    assert tally.total(1) == other.total(1) == 2
