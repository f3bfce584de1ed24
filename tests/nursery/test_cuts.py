"""Removed backends: cut when their time is up, and not when they have come back by then."""

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.config.clusters import Backend, Cluster
from sozu_trio.control.messages import Cut
from sozu_trio.errors import ChannelError
from sozu_trio.nursery.cuts import PendingCuts, Removed, removed_by
from sozu_trio.routing.state import EMPTY, declare

pytestmark = pytest.mark.virtual_time

HERE, THERE = Address("127.0.0.1", 9000), Address("127.0.0.1", 9001)
REMOVED = ("api", "b", HERE)
API = Cluster(cluster_id="api")
BACK = declare([], [API], [], [], [Backend(cluster_id="api", backend_id="b", address=HERE)])
MOVED = declare([], [API], [], [], [Backend(cluster_id="api", backend_id="b", address=THERE)])
WITHOUT_CLUSTER = declare([], [], [], [], [Backend(cluster_id="api", backend_id="b", address=HERE)])


class Cutting:
    """Remembers what was cut and when."""

    def __init__(self) -> None:
        self.done: list[tuple[Removed, float]] = []
        self.cuts = PendingCuts(self._cut)
        self._begun = trio.current_time()

    def _cut(self, cluster_id: str, backend_id: str, address: Address) -> int:
        self.done.append(((cluster_id, backend_id, address), trio.current_time() - self._begun))
        return 3


async def test_each_is_cut_in_its_time(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    cutting = Cutting()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cutting.cuts.wait_and_cut, REMOVED, 10)
        nursery.start_soon(cutting.cuts.wait_and_cut, ("api", "c", HERE), 0)
        nursery.start_soon(cutting.cuts.wait_and_cut, ("api", "b", THERE), 5)
    assert cutting.done == [(("api", "c", HERE), 0), (("api", "b", THERE), 5), (REMOVED, 10)]
    assert "cluster api, backend b at 127.0.0.1:9000: 3 connections cut after its removal" in caplog.text


async def test_who_is_back_at_its_address_is_not_cut() -> None:
    cutting = Cutting()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cutting.cuts.wait_and_cut, REMOVED, 10)
        await wait_all_tasks_blocked()
        cutting.cuts.follow(MOVED)
        cutting.cuts.follow(WITHOUT_CLUSTER)
        assert cutting.done == []
        cutting.cuts.follow(BACK)
    assert cutting.done == []
    await cutting.cuts.wait_and_cut(REMOVED, 1)
    assert cutting.done == [(REMOVED, 1)]


async def test_back_and_gone_again_for_ever_is_never_cut() -> None:
    cutting = Cutting()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cutting.cuts.wait_and_cut, REMOVED, 10)
        await trio.sleep(5)
        cutting.cuts.follow(BACK)
        cutting.cuts.follow(EMPTY)
        await trio.sleep(20)
    assert cutting.done == []


async def test_gone_again_counts_anew() -> None:
    cutting = Cutting()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(cutting.cuts.wait_and_cut, REMOVED, 10)
        await trio.sleep(5)
        cutting.cuts.follow(BACK)
        nursery.start_soon(cutting.cuts.wait_and_cut, REMOVED, 10)
        await wait_all_tasks_blocked()
        cutting.cuts.follow(EMPTY)
    assert cutting.done == [(REMOVED, 15)]


def test_a_backend_that_is_there_is_not_cut() -> None:
    message = Cut(serial=1, cluster_id="api", backend_id="b", address=HERE, grace=1)
    assert {removed_by(message, state) for state in (EMPTY, MOVED, WITHOUT_CLUSTER)} == {REMOVED}
    with pytest.raises(ChannelError, match="backend b of cluster api is there to stay"):
        removed_by(message, BACK)
