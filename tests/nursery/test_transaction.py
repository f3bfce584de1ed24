"""What one worker is asked for a change; whole transactions are in test_supervisor.py."""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster
from sozu_trio.control.channel import Channel, channel_pair
from sozu_trio.control.messages import Amend, Ask, Commit, Cut, Listen, Prepare, Reply, Stopped, Unlisten
from sozu_trio.nursery.transaction import RECORDS_PER_MESSAGE, Following, Target, forget, prepare, removed_backends
from sozu_trio.nursery.workers import WorkerHandle, WorkerRefused, WorkerSilent
from sozu_trio.routing.delta import NOTHING, Delta
from sozu_trio.routing.drains import Drains
from sozu_trio.routing.state import EMPTY, ListenerKey, State, declare

pytestmark = pytest.mark.virtual_time

HERE, THERE = Address("127.0.0.1", 1), Address("127.0.0.1", 2)
ONE: ListenerKey = ("tcp", HERE)
TWO: ListenerKey = ("tcp", THERE)
DELTA = Delta(clusters=(Cluster(cluster_id="new"),))
STATE = declare([], [Cluster(cluster_id="old"), Cluster(cluster_id="new")], [], [], [])
TARGET = Target(state=STATE, generation=8, base=7, delta=DELTA)


class Scripted:
    """A worker that answers each kind of question as it is told to: None = done, text = refused, ... = never."""

    def __init__(self, channel: Channel[Ask]) -> None:
        self.heard: list[Ask] = []
        self.answers: dict[type[Ask], list[object]] = {}
        self._channel = channel

    async def run(self) -> None:
        while received := await self._channel.receive():
            message, descriptors = received
            for descriptor in descriptors:
                socket.close(descriptor)
            self.heard.append(message)
            script = self.answers.get(type(message), [])
            answer = script.pop(0) if script else None
            if answer is not ...:
                await self._channel.send(Reply(serial=message.serial, failure=None if answer is None else str(answer)))

    @property
    def kinds(self) -> list[type[Ask]]:
        return [type(message) for message in self.heard]


@asynccontextmanager
async def working(generation: int | None) -> AsyncIterator[tuple[WorkerHandle, Scripted]]:
    ours, theirs = channel_pair()
    worker, scripted = WorkerHandle(0, 1, ours, print, print, patience=5), Scripted(theirs)
    worker.generation = generation
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        nursery.start_soon(scripted.run)
        yield worker, scripted
        await theirs.send(Stopped(cut=0))
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    theirs.close()


async def test_a_worker_in_step_is_told_the_difference() -> None:
    async with working(7) as (worker, scripted):
        await prepare(worker, TARGET)
    amend, prepared = scripted.heard
    assert isinstance(amend, Amend)
    assert isinstance(prepared, Prepare)
    assert (amend.base, amend.delta) == (7, DELTA)
    assert (prepared.attempt, prepared.generation) == (amend.attempt, 8)


@pytest.mark.parametrize("generation", [None, 6, 8])
async def test_any_other_worker_is_told_everything(generation: int | None) -> None:
    async with working(generation) as (worker, scripted):
        await prepare(worker, TARGET)
    amend = scripted.heard[0]
    assert isinstance(amend, Amend)
    assert (amend.base, amend.delta) == (None, Delta(clusters=tuple(STATE.clusters.values())))


async def test_what_is_much_comes_in_parts_of_one_attempt() -> None:
    count = 2 * RECORDS_PER_MESSAGE + 1
    much = replace(TARGET, delta=Delta(clusters=tuple(Cluster(cluster_id=str(number)) for number in range(count))))
    async with working(7) as (worker, scripted):
        await prepare(worker, much)
        await prepare(worker, much)
    amends = [message for message in scripted.heard if isinstance(message, Amend)]
    sizes = [RECORDS_PER_MESSAGE, RECORDS_PER_MESSAGE, 1]
    assert [len(amend.delta) for amend in amends] == sizes * 2
    assert len({amend.attempt for amend in amends[:3]}) == len({amend.attempt for amend in amends[3:]}) == 1
    assert amends[0].attempt != amends[3].attempt


async def test_a_worker_that_refuses_the_difference_is_told_everything_once() -> None:
    async with working(7) as (worker, scripted):
        scripted.answers[Amend] = ["here is 5"]
        await prepare(worker, TARGET)
        scripted.answers[Amend] = ["here is 5", "no"]
        with pytest.raises(WorkerRefused, match="worker 0: no"):
            await prepare(worker, TARGET)
    bases = [message.base for message in scripted.heard if isinstance(message, Amend)]
    assert bases == [7, None, 7, None]


async def test_a_worker_that_does_not_answer_is_not_asked_again() -> None:
    async with working(7) as (worker, scripted):
        scripted.answers[Amend] = [...]
        with pytest.raises(WorkerSilent):
            await prepare(worker, TARGET)
        await forget(worker)
    assert scripted.kinds == [Amend]


async def test_each_part_may_take_its_time() -> None:
    much = replace(TARGET, delta=Delta(clusters=tuple(Cluster(cluster_id=str(n)) for n in range(1000))))
    begun = trio.current_time()

    async def answer_slowly(channel: Channel[Ask]) -> None:
        while received := await channel.receive():
            await trio.sleep(4)
            await channel.send(Reply(serial=received[0].serial))

    ours, theirs = channel_pair()
    worker = WorkerHandle(0, 1, ours, print, print, patience=5)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run)
        nursery.start_soon(answer_slowly, theirs)
        worker.generation = 7
        await prepare(worker, much)
        assert trio.current_time() == begun + 4 * 5
        nursery.cancel_scope.cancel()
    theirs.close()


@asynccontextmanager
async def following(**answers: list[object]) -> AsyncIterator[tuple[WorkerHandle, Scripted, list[str]]]:
    """A worker that listens at ONE and follows a change that wants TWO and cuts a backend; and what failed."""
    cuts = {("api", "b", HERE): 3.0}
    target = replace(TARGET, cuts=cuts, drains=Drains(listeners={ONE: 9}))
    async with working(7) as (worker, scripted):
        scripted.answers = {kind: answers.get(kind.__name__, []) for kind in (Unlisten, Commit, Listen, Cut)}
        worker.listening = {ONE}
        with socket.create_server(("127.0.0.1", 0)) as sock:
            steps = Following(worker, target, {TWO: sock})
            await steps.run()
        yield worker, scripted, [str(failure) for failure in steps.failures]


async def test_who_follows_drains_commits_listens_and_cuts_in_this_order() -> None:
    async with following() as (worker, scripted, failures):
        assert (scripted.kinds, failures) == ([Unlisten, Commit, Listen, Cut], [])
        assert (worker.generation, worker.listening, worker.uncut) == (8, {TWO}, {})
    unlisten, _, _, cut = scripted.heard
    assert isinstance(unlisten, Unlisten)
    assert isinstance(cut, Cut)
    assert (unlisten.grace, cut.grace) == (9, 3)


async def test_who_does_not_commit_does_not_begin_to_listen() -> None:
    async with following(Commit=["what?"]) as (worker, scripted, failures):
        assert (scripted.kinds, failures) == ([Unlisten, Commit], ["worker 0: what?"])
        assert (worker.generation, worker.listening, worker.uncut) == (None, set(), {("api", "b", HERE): 3})


async def test_all_else_goes_on_and_is_remembered_as_not_done() -> None:
    async with following(Unlisten=["no"], Listen=["not"], Cut=["never"]) as (worker, scripted, failures):
        assert scripted.kinds == [Unlisten, Commit, Listen, Cut]
        assert failures == ["worker 0: no", "worker 0: not", "worker 0: never"]
        assert (worker.generation, worker.listening, worker.uncut) == (8, {ONE}, {("api", "b", HERE): 3})


async def test_what_is_done_is_not_asked_for_again() -> None:
    target = Target(state=STATE, generation=8, base=8, delta=NOTHING)
    async with working(8) as (worker, scripted):
        worker.listening = {TWO}
        with socket.create_server(("127.0.0.1", 0)) as sock:
            await Following(worker, target, {TWO: sock}).run()
    assert scripted.heard == []


async def test_a_backend_that_is_back_is_not_cut_after_all() -> None:
    state = with_backends(Backend(cluster_id="api", backend_id="b", address=HERE))
    target = Target(state=state, generation=8, base=8, delta=NOTHING)
    async with working(8) as (worker, scripted):
        worker.uncut = {("api", "b", HERE): 1, ("api", "c", HERE): 2}
        await Following(worker, target, {}).run()
        assert (scripted.kinds, worker.uncut) == ([Cut], {})


def with_backends(*backends: Backend, clusters: Sequence[str] = ("api",)) -> State:
    return declare([], [Cluster(cluster_id=each) for each in clusters], [], [], backends)


def test_who_is_removed_is_known_by_where_it_was() -> None:
    stays, goes, moves = (
        Backend(cluster_id="api", backend_id=name, address=HERE) for name in ("stays", "goes", "moves")
    )
    before = with_backends(stays, goes, moves)
    after = with_backends(stays, replace(moves, address=THERE))
    names = ["stays", "goes", "moves", "unknown"]
    drains = Drains(backends={("api", name): 5 for name in names})
    assert removed_backends(before, after, drains) == {("api", "goes", HERE): 5, ("api", "moves", HERE): 5}
    assert removed_backends(before, after, Drains(backends={("api", "goes"): None})) == {}
    assert removed_backends(before, after, Drains()) == {}
    assert removed_backends(EMPTY, after, drains) == {}


def test_with_its_cluster_every_backend_is_removed() -> None:
    one, two = (Backend(cluster_id="api", backend_id=name, address=HERE) for name in ("one", "two"))
    before, after = with_backends(one, two), with_backends(one, clusters=())
    clusters = {"api": 5.0, "unknown": 5.0}
    assert removed_backends(before, after, Drains(clusters=clusters)) == dict.fromkeys(
        [("api", "one", HERE), ("api", "two", HERE)], 5
    )
    named = Drains(clusters=clusters, backends={("api", "one"): 3, ("api", "two"): None})
    assert removed_backends(before, after, named) == {("api", "one", HERE): 3, ("api", "two", HERE): 5}
    assert removed_backends(before, before, named) == {}
    assert removed_backends(before, after, Drains(clusters={"api": None})) == {}
