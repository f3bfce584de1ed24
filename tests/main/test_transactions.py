"""Changes one after the other: what is refused leaves nothing, what is done is in the journal first."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import cast

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.clusters import Cluster
from sozu_trio.control.history import Entry
from sozu_trio.errors import JournalError, NotConfirmed, OperatorError
from sozu_trio.main import transactions
from sozu_trio.main.actors import Actor
from sozu_trio.main.events import WAITING, Event, Events
from sozu_trio.main.transactions import Order, Transactions
from sozu_trio.nursery.supervisor import Supervisor
from sozu_trio.routing.delta import NOTHING, Delta, amend
from sozu_trio.routing.drains import Drains
from sozu_trio.routing.state import EMPTY, State, with_declared

ACTOR = Actor(uid=1, pid=2, process="test")


class FakeSupervisor:
    """Has everything prepared at once, and waits for `go` between the journal and the end."""

    def __init__(self) -> None:
        self.state, self.generation = EMPTY, 1
        self.worker_count = 2
        self.employed: list[tuple[int, int]] = []
        """The generation at which how many were asked for."""
        self.nobody_to_be_had = False
        self.refusal: OperatorError | None = None
        self.unconfirmed: OperatorError | None = None
        self.drains: list[Drains] = []
        self.go = trio.Event()
        self.go.set()

    async def employ(self, workers: int) -> None:
        if self.nobody_to_be_had:
            raise OperatorError("no")
        self.employed.append((self.generation, workers))
        self.worker_count = workers

    async def change(
        self,
        state: State,
        generation: int,
        *,
        delta: Delta,
        drains: Drains,
        journal: Callable[[], Awaitable[None]] | None,
    ) -> None:
        assert amend(self.state, delta) == state
        if self.refusal is not None:
            raise self.refusal
        if journal is not None:
            await journal()
        self.state, self.generation = state, generation
        self.drains.append(drains)
        await self.go.wait()
        if self.unconfirmed is not None:
            raise self.unconfirmed


class FakeJournal:
    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.full = False

    async def append(self, entry: Entry) -> None:
        await trio.lowlevel.checkpoint()
        if self.full:
            raise JournalError("no space left")
        self.entries.append(entry)


class Running:
    """Transactions over fakes."""

    def __init__(self) -> None:
        self.supervisor = FakeSupervisor()
        self.journal = FakeJournal()
        self.events = Events(clock=lambda: 0.0)
        self.transactions = Transactions(cast(Supervisor, self.supervisor), self.journal, self.events)


def adding(cluster_id: str, *, large: bool = False) -> Order:
    delta = Delta(clusters=(Cluster(cluster_id=cluster_id),))
    return Order(actor=ACTOR, what=f"add {cluster_id}", make=lambda state: amend(state, delta), large=large)


@pytest.fixture
def running() -> Running:
    return Running()


@pytest.mark.parametrize("large", [False, True])
async def test_a_change_is_journaled_and_told(running: Running, large: bool) -> None:
    with running.events.listen() as events:
        outcome = await running.transactions.carry_out(adding("a", large=large))
        assert (await events.receive())["kind"] == "CLUSTER_ADDED"
    assert (outcome.generation, outcome.before) == (2, EMPTY)
    assert list(running.transactions.state.clusters) == ["a"]
    (entry,) = running.journal.entries
    assert (entry.generation, entry.uid, entry.pid, entry.process, entry.what) == (2, 1, 2, "test", "add a")
    assert entry.delta == outcome.delta == Delta(clusters=(Cluster(cluster_id="a"),))


@pytest.mark.parametrize("large", [False, True])
async def test_however_much_changes_whoever_reads_hears_all_of_it(running: Running, large: bool) -> None:
    names = [f"c{number}" for number in range(3 * WAITING)]
    delta = Delta(clusters=tuple(Cluster(cluster_id=name) for name in names))
    order = replace(adding("", large=large), make=lambda state: amend(state, delta), events=(Event(kind="LAST"),))
    with running.events.listen() as events:
        await running.transactions.carry_out(order)
        assert [(await events.receive())["cluster_id"] for _ in names] == names
        assert (await events.receive())["kind"] == "LAST"


async def test_what_changes_nothing_makes_no_generation(running: Running) -> None:
    order = Order(actor=ACTOR, what="nothing", make=lambda state: state, events=(Event(kind="SAID_ANYWAY"),))
    with running.events.listen() as events:
        outcome = await running.transactions.carry_out(order)
        assert (await events.receive())["kind"] == "SAID_ANYWAY"
    assert (outcome.generation, outcome.delta) == (1, NOTHING)
    assert (running.journal.entries, running.supervisor.drains) == ([], [])


@pytest.mark.parametrize("who", ["make", "supervisor", "journal"])
async def test_whoever_refuses_nothing_has_changed(running: Running, who: str) -> None:
    order = adding("a")
    if who == "make":

        def refuse(_: State) -> State:
            raise OperatorError("no")

        order = replace(order, make=refuse)
    elif who == "supervisor":
        running.supervisor.refusal = OperatorError("no")
    else:
        running.journal.full = True
    with running.events.listen() as events:
        with pytest.raises(OperatorError, match="no"):
            await running.transactions.carry_out(order)
        assert events.waiting == 0
    assert (running.transactions.state, running.transactions.generation) == (EMPTY, 1)
    assert running.journal.entries == []
    running.supervisor.refusal, running.journal.full = None, False
    assert (await running.transactions.carry_out(adding("b"))).generation == 2


async def test_what_no_worker_has_confirmed_is_told_all_the_same(running: Running) -> None:
    running.supervisor.unconfirmed = NotConfirmed("worker 0 has not confirmed", 2)
    with running.events.listen() as events:
        with pytest.raises(NotConfirmed, match="not confirmed"):
            await running.transactions.carry_out(adding("a"))
        assert (await events.receive())["kind"] == "CLUSTER_ADDED"
    assert running.transactions.generation == 2


async def test_who_follows_is_told_when_it_is_in_force_and_only_then(running: Running) -> None:
    told: list[int] = []
    order = replace(adding("a"), follow=lambda: told.append(running.transactions.generation))
    running.journal.full = True
    with pytest.raises(JournalError):
        await running.transactions.carry_out(order)
    assert told == []
    running.journal.full = False
    running.supervisor.unconfirmed = NotConfirmed("worker 0 has not confirmed", 2)
    with pytest.raises(NotConfirmed):
        await running.transactions.carry_out(order)
    assert told == [2]
    running.supervisor.unconfirmed = None
    await running.transactions.carry_out(replace(order, make=lambda state: state))
    assert told == [2, 2], "also where it was so already"


async def test_what_a_change_has_made_is_no_business_of_the_garbage_collector(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: list[int] = []
    monkeypatch.setattr(transactions, "keep", kept.append)
    declared = amend(EMPTY, Delta(clusters=(Cluster(cluster_id="a"), Cluster(cluster_id="b"))))
    order = replace(adding(""), make=lambda state: with_declared(declared, declared))
    await running.transactions.carry_out(order)
    assert kept == [4]


async def test_changes_take_turns_and_build_on_one_another(running: Running) -> None:
    running.supervisor.go = trio.Event()
    outcomes = []

    async def carry_out(cluster_id: str) -> None:
        outcomes.append((await running.transactions.carry_out(adding(cluster_id))).generation)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(carry_out, str(number))
        await wait_all_tasks_blocked()
        assert len(running.journal.entries) == 1
        running.supervisor.go.set()
    assert outcomes == [2, 3, 4, 5, 6]
    assert sorted(running.transactions.state.clusters) == ["0", "1", "2", "3", "4"]


async def test_drains_reach_the_workers(running: Running) -> None:
    drains = Drains(backends={("a", "b"): 0.0})
    await running.transactions.carry_out(replace(adding("a"), drains=drains))
    assert running.supervisor.drains == [drains]


async def test_without_a_journal_changes_last_as_long_as_the_process() -> None:
    supervisor = FakeSupervisor()
    transactions = Transactions(cast(Supervisor, supervisor), None, Events())
    assert (await transactions.carry_out(adding("a"))).generation == 2


async def test_more_workers_come_before_the_change_and_fewer_after_it(running: Running) -> None:
    outcome = await running.transactions.carry_out(replace(adding("a"), workers=4))
    assert (running.supervisor.employed, outcome.workers) == ([(1, 4)], (2, 4))
    outcome = await running.transactions.carry_out(replace(adding("b"), workers=1))
    assert (running.supervisor.employed[1:], outcome.workers) == ([(3, 1)], (4, 1))
    await running.transactions.carry_out(adding("c"))
    assert len(running.supervisor.employed) == 2


@pytest.mark.parametrize("workers", [1, 4])
async def test_whoever_refuses_there_are_as_many_workers_as_before(running: Running, workers: int) -> None:
    running.journal.full = True
    with pytest.raises(OperatorError):
        await running.transactions.carry_out(replace(adding("a"), workers=workers))
    assert running.supervisor.worker_count == 2


async def test_where_no_more_can_be_had_nothing_changes(running: Running) -> None:
    running.supervisor.nobody_to_be_had = True
    with pytest.raises(OperatorError, match="no"):
        await running.transactions.carry_out(replace(adding("a"), workers=4))
    assert (running.transactions.generation, running.journal.entries) == (1, [])


@pytest.mark.parametrize("workers", [1, 4])
async def test_what_is_not_confirmed_is_decided_and_so_is_the_number(running: Running, workers: int) -> None:
    running.supervisor.unconfirmed = NotConfirmed("no", 2)
    with pytest.raises(NotConfirmed):
        await running.transactions.carry_out(replace(adding("a"), workers=workers))
    assert running.supervisor.worker_count == workers
