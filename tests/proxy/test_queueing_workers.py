"""Limits of connections to backends over all workers, and while they change: nothing is left behind."""

import random
import socket
from collections.abc import Callable

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock, wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.errors import BackendsFull, NoBackend
from sozu_trio.nursery.tally import SLOTS
from sozu_trio.proxy import connect as connect_module
from sozu_trio.proxy.backends import Connection
from sozu_trio.proxy.connect import discard
from sozu_trio.proxy.queueing import LOOK, Gauge
from sozu_trio.testing import ScriptedBackend
from sozu_trio.testing.plugin import StartBackend
from tests.nursery.counting import alone
from tests.proxy.queues import House
from tests.proxy.tcp_sessions import echo

pytestmark = pytest.mark.virtual_time


@pytest.fixture
async def backend(start_backend: StartBackend) -> ScriptedBackend:
    return await start_backend(echo)


async def test_limits_that_change_wake_who_waits(backend: ScriptedBackend) -> None:
    house = House()
    house.configure(backend.address, max_connections=1)
    held = [await house.connect()]

    async def wait() -> None:
        held.append(await house.connect())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)
            await wait_all_tasks_blocked()
        assert len(held) == 1
        house.configure(backend.address, max_connections=2)
        await wait_all_tasks_blocked()
        assert len(held) == 2
        house.configure(backend.address)
        await wait_all_tasks_blocked()
        assert len(held) == 4
    assert len(house.tallies[0]) == 0
    house.configure(backend.address, most=4)
    house.configure(backend.address, most=4, max_queue=0)
    with pytest.raises(BackendsFull):
        await house.connect()
    house.give_back(held.pop())
    held.append(await house.connect())
    assert held[-1].reused
    for connection in held:
        discard(connection)
    house.close()
    assert len(house.tallies[0]) == 0


async def test_a_backend_that_comes_and_a_cluster_that_goes(
    backend: ScriptedBackend, start_backend: StartBackend
) -> None:
    house, other = House(), await start_backend(echo)
    house.configure(backend.address, most=1)
    first = await house.connect()
    got: list[Connection | str] = []

    async def wait() -> None:
        try:
            got.append(await house.connect())
        except NoBackend as error:
            got.append(str(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        house.configure(backend.address, other.address, most=1)
        await wait_all_tasks_blocked()
        (second,) = got
        assert isinstance(second, Connection)
        assert second.state.backend.address == other.address
        house.configure()
        await wait_all_tasks_blocked()
        assert got[1:] == ["there is no cluster api any more"]
    for connection in (first, second):
        discard(connection)
    assert len(house.tallies[0]) == 0


async def test_what_is_given_back_in_another_worker_is_found(backend: ScriptedBackend) -> None:
    house = House(2)
    house.configure(backend.address, max_connections=1)
    first = await house.connect(0)
    begun = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def wait() -> None:
            second = await house.connect(1)
            assert trio.current_time() <= begun + 1 + LOOK
            discard(second)

        nursery.start_soon(wait)
        await trio.sleep(1)
        discard(first)
    assert list(map(len, house.tallies)) == [0, 0]


@pytest.mark.parametrize("while_waiting", [False, True])
async def test_idle_connections_of_another_worker_are_in_nobodys_way(
    backend: ScriptedBackend, while_waiting: bool
) -> None:
    house = House(2)
    house.configure(backend.address, max_connections=1)
    first = await house.connect(0)
    if not while_waiting:
        house.give_back(first, 0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(house.workers[0].yield_idle)
        with trio.fail_after(3 * LOOK + while_waiting):
            if while_waiting:

                async def later() -> None:
                    await trio.sleep(1)
                    house.give_back(first, 0)

                nursery.start_soon(later)
            discard(await house.connect(1))
        nursery.cancel_scope.cancel()
    house.close()
    assert list(map(len, house.tallies)) == [0, 0]


async def test_each_worker_gets_its_share(backend: ScriptedBackend) -> None:
    """One with many who wait leaves some to the other one, which has as many."""
    house = House(2)
    chance = random.Random(1)
    for worker in house.workers:
        worker.backends._random = chance.random
    house.configure(backend.address, max_connections=2, queue_timeout=0)
    served = [0, 0]

    async def work(worker: int) -> None:
        while True:
            connection = await house.connect(worker)
            try:
                await trio.sleep(0.1)
                served[worker] += 1
            finally:
                house.give_back(connection, worker)

    with trio.move_on_after(60):
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(work, number % 2)
    assert min(served) > 0.3 * sum(served)
    assert sum(served) > 0.75 * 2 * 60 / 0.1
    house.close()
    assert list(map(len, house.tallies)) == [0, 0]


def test_a_gauge_gives_back_only_what_was_counted() -> None:
    tally = alone()
    for number in range(SLOTS + SLOTS // 8):
        tally.add(tally.key(number.to_bytes(8)))
    counted = len(tally)
    gauges = [Gauge(tally, str(number).encode()) for number in range(5000)]
    for gauge in gauges:
        gauge.change(2)
    assert {gauge.here for gauge in gauges} == {0, 2}
    for gauge in gauges:
        gauge.change(-3)
        assert (gauge.here, gauge.total()) == (0, 0)
    assert len(tally) == counted


class Uncertain:
    """A network on which connecting takes some time, or fails, and a crowd that comes and goes on it."""

    def __init__(self, seed: int, most: int, limit: int) -> None:
        self.random = random.Random(seed)
        self.house = House(2)
        self.addresses = [Address("192.0.2.1", 1), Address("192.0.2.1", 2)]
        self.most, self.limit = most, limit
        self.others: list[socket.socket] = []

    async def open_connection(self, _: Address) -> socket.socket:
        await trio.sleep(self.random.choice([0, 0.01, 0.3]))
        if self.random.random() < 0.1:
            raise ConnectionRefusedError("refused")
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        self.others.append(theirs)
        return ours

    def check(self) -> None:
        """Never more than there may be, and one more at most for the other worker."""
        states = [list(worker.backends.clusters.get("api") or ()) for worker in self.house.workers]
        for of_one_backend in zip(*states, strict=True):
            assert not self.most or sum(state.connections for state in of_one_backend) <= self.most + 1
        total = sum(state.connections for of_worker in states for state in of_worker)
        assert not self.limit or total <= self.limit + 1

    async def visit(self, worker: int) -> None:
        await trio.sleep(self.random.random() * 3)
        with trio.move_on_after(self.random.choice([0.05, 0.5, 100])):
            try:
                connection = await self.house.connect(worker)
            except NoBackend:
                return
            self.check()
            try:
                await trio.sleep(self.random.choice([0, 0.02, 0.5]))
            finally:
                how: Callable[[], None] = self.random.choice(
                    [lambda: discard(connection), lambda: self.house.give_back(connection, worker)]
                )
                how()

    async def run(self) -> None:
        try:
            self.house.configure(*self.addresses, most=self.most, max_connections=self.limit, queue_timeout=1)
            async with trio.open_nursery() as services:
                for worker in self.house.workers:
                    services.start_soon(worker.yield_idle)
                async with trio.open_nursery() as nursery:
                    for number in range(30):
                        nursery.start_soon(self.visit, number % 2)
                services.cancel_scope.cancel()
        finally:
            self.house.close()
            for sock in self.others:
                sock.close()
        assert list(map(len, self.house.tallies)) == [0, 0]
        assert [worker.counters.queued for worker in self.house.workers] == [0, 0]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1 << 32), st.integers(0, 3), st.integers(0, 4))
def test_nothing_is_left_whatever_happens(seed: int, most: int, limit: int) -> None:
    uncertain = Uncertain(seed, most, limit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connect_module, "open_connection", uncertain.open_connection)
        trio.run(uncertain.run, clock=MockClock(autojump_threshold=0))
