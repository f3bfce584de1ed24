"""A worker's side of a change: what is amended adds up, and nothing is in force before it is committed."""

import time
from collections.abc import Generator
from dataclasses import replace

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Cluster, HttpFrontend, PathType
from sozu_trio.config.listeners import HttpListener
from sozu_trio.control.messages import Amend, Prepare
from sozu_trio.control.parts import cut
from sozu_trio.errors import ChannelError
from sozu_trio.nursery import generations as module
from sozu_trio.nursery.generations import Generations
from sozu_trio.routing.delta import NOTHING, Delta, diff
from sozu_trio.routing.state import EMPTY, State, declare
from sozu_trio.routing.table import NO_TABLE, Table
from sozu_trio.telemetry.counters import Counters

pytestmark = pytest.mark.virtual_time

ADDRESS = Address("127.0.0.1", 80)
UNREADABLE = HttpFrontend(address=ADDRESS, hostname="*", path="(", path_type=PathType.REGEX, cluster_id="a")
IDS = ["a", "b", "c", "d", "e"]


def state(*ids: str) -> State:
    frontends = [HttpFrontend(address=ADDRESS, hostname=f"{each}.com", cluster_id=each) for each in ids]
    return declare([HttpListener(address=ADDRESS)], [Cluster(cluster_id=each) for each in ids], frontends, [], [])


class Working:
    """Generations, and the Tables they have put in force."""

    def __init__(self) -> None:
        self.tables: list[Table] = []
        self.counters = Counters()
        self.generations = Generations(self.tables.append, self.counters)

    def amend(self, attempt: int, base: int | None, delta: Delta) -> None:
        message = Amend(serial=1, attempt=attempt, base=base, delta=delta)
        self.generations.amend(message, time.perf_counter())

    async def prepare(self, attempt: int, generation: int) -> None:
        await self.generations.prepare(Prepare(serial=1, attempt=attempt, generation=generation))

    async def change(self, after: State, generation: int) -> None:
        base = self.generations.generation
        self.amend(generation, base, diff(self.generations.state, after))
        await self.prepare(generation, generation)
        self.generations.commit(generation)


def serves(table: Table) -> set[str]:
    """The hosts of the Table that lead to a cluster, of those that ever do."""
    return {each for each in IDS if table.http[ADDRESS].find(f"{each}.com".encode(), b"/", b"GET").cluster}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sets(st.sampled_from(IDS)), min_size=1, max_size=5), st.integers(1, 5))
def test_any_change_in_parts_of_any_size_is_in_force_when_it_is_committed(changes: list[set[str]], size: int) -> None:
    async def run() -> None:
        working = Working()
        for generation, ids in enumerate(changes, 1):
            after = state(*sorted(ids))
            base = working.generations.generation
            for part in cut(diff(working.generations.state, after), size):
                working.amend(generation, base, part)
            before = list(working.tables)
            await working.prepare(generation, generation)
            assert working.tables == before
            working.generations.commit(generation)
            table = working.tables[-1]
            assert (table.generation, working.generations.state) == (generation, after)
            assert serves(table) == ids

    trio.run(run)


async def test_another_attempt_begins_anew() -> None:
    working = Working()
    working.amend(1, None, diff(EMPTY, state("a")))
    working.amend(2, None, diff(EMPTY, state("b")))
    with pytest.raises(ChannelError, match="nothing was amended in attempt 1"):
        await working.prepare(1, 1)
    await working.prepare(2, 1)
    working.generations.commit(1)
    assert serves(working.tables[-1]) == {"b"}


async def test_from_nothing_whatever_is_here() -> None:
    working = Working()
    await working.change(state("a"), 5)
    working.amend(9, None, diff(EMPTY, state("b")))
    await working.prepare(9, 3)
    working.generations.commit(3)
    assert (working.generations.state, working.generations.generation) == (state("b"), 3)
    assert serves(working.tables[-1]) == {"b"}


async def test_another_base_is_refused() -> None:
    working = Working()
    await working.change(state("a"), 5)
    with pytest.raises(ChannelError, match="amends generation 4, and here is 5"):
        working.amend(9, 4, NOTHING)
    with pytest.raises(ChannelError, match="nothing was amended in attempt 9"):
        await working.prepare(9, 6)


async def test_what_does_not_fit_is_refused_and_the_attempt_is_over() -> None:
    working = Working()
    working.amend(9, 0, diff(EMPTY, state("a")))
    with pytest.raises(ChannelError, match=r"removes 'zebra', which is not in generation 0"):
        working.amend(9, 0, Delta(gone_clusters=("zebra",)))
    with pytest.raises(ChannelError, match="nothing was amended in attempt 9"):
        await working.prepare(9, 1)


async def test_what_cannot_be_compiled_is_not_prepared() -> None:
    working = Working()
    await working.change(state("a"), 1)
    working.amend(2, 1, Delta(http_frontends=(UNREADABLE,)))
    with pytest.raises(ValueError, match="unterminated subpattern"):
        await working.prepare(2, 2)
    with pytest.raises(ChannelError, match="generation 2 was not prepared"):
        working.generations.commit(2)
    assert working.generations.state == state("a")
    await working.change(state("b"), 2)
    assert serves(working.tables[-1]) == {"b"}


async def test_only_what_was_prepared_last_is_committed_and_once() -> None:
    working = Working()
    working.amend(1, None, NOTHING)
    await working.prepare(1, 5)
    await working.prepare(1, 6)
    with pytest.raises(ChannelError, match="generation 5 was not prepared"):
        working.generations.commit(5)
    working.generations.commit(6)
    with pytest.raises(ChannelError, match="generation 6 was not prepared"):
        working.generations.commit(6)
    assert [table.generation for table in working.tables] == [6]


async def test_a_part_that_comes_after_prepare_has_to_be_prepared_too() -> None:
    working = Working()
    working.amend(1, None, diff(EMPTY, state("a")))
    await working.prepare(1, 5)
    working.amend(1, None, Delta(clusters=(Cluster(cluster_id="late"),)))
    with pytest.raises(ChannelError, match="generation 5 was not prepared"):
        working.generations.commit(5)


async def test_what_is_forgotten_is_gone() -> None:
    working = Working()
    working.amend(1, None, NOTHING)
    await working.prepare(1, 5)
    working.generations.forget()
    working.generations.forget()
    with pytest.raises(ChannelError, match="generation 5 was not prepared"):
        working.generations.commit(5)


async def test_between_two_slices_others_run_and_the_longest_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    slices, others = 0, 0

    def compile_slowly(*_records: object) -> Generator[None, None, Table]:
        nonlocal slices
        for _ in range(5):
            slices += 1
            if slices == 3:
                time.sleep(0.02)
            yield
        return replace(NO_TABLE, generation=2)

    async def run_too() -> None:
        nonlocal others
        while True:
            others += 1
            await trio.lowlevel.checkpoint()

    working = await serving()
    monkeypatch.setattr(module, "_compile", compile_slowly)
    working.counters.longest_hold = 0
    working.amend(2, None, NOTHING)
    begun = time.perf_counter()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_too)
        await working.prepare(2, 2)
        nursery.cancel_scope.cancel()
    assert (slices, others >= 4) == (5, True)
    assert 0.02 <= working.counters.longest_hold / 1e6 <= time.perf_counter() - begun
    working.generations.commit(2)
    assert working.counters.changes == 2


async def test_what_was_changed_is_kept_from_the_garbage_collector(monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[int] = []
    monkeypatch.setattr(module, "keep", kept.append)
    working = Working()
    changed = diff(EMPTY, state("a", "b"))
    for part in cut(changed, 2):
        working.amend(1, None, part)
    await working.prepare(1, 1)
    assert kept == []
    working.generations.commit(1)
    assert kept == [len(changed)]


async def serving() -> Working:
    """One whose first generation is in force."""
    working = Working()
    working.amend(1, None, NOTHING)
    await working.prepare(1, 1)
    working.generations.commit(1)
    return working


async def test_nobody_waits_for_the_first_generation() -> None:
    working = Working()
    working.generations.amend(Amend(serial=1, attempt=1, base=None, delta=NOTHING), time.perf_counter() - 0.5)
    await working.prepare(1, 1)
    working.generations.commit(1)
    assert (working.counters.longest_hold, working.counters.changes) == (0, 1)


async def test_a_part_counts_from_where_it_began_to_be_read() -> None:
    working = await serving()
    message = Amend(serial=1, attempt=2, base=None, delta=NOTHING)
    working.generations.amend(message, time.perf_counter() - 0.5)
    assert working.counters.longest_hold >= 500_000


async def test_who_is_cancelled_while_preparing_has_prepared_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    scope = trio.CancelScope()

    def compile_until_cancelled(*_: object) -> Generator[None, None, Table]:
        for number in range(1000):
            if number == 5:
                scope.cancel()
            yield
        return replace(NO_TABLE, generation=2)

    monkeypatch.setattr(module, "_compile", compile_until_cancelled)
    working = Working()
    working.amend(1, None, NOTHING)
    with scope:
        await working.prepare(1, 1)
    assert scope.cancelled_caught
    with pytest.raises(ChannelError, match="generation 1 was not prepared"):
        working.generations.commit(1)
