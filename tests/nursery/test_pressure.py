"""What a worker does about clients when something gets short."""

from types import SimpleNamespace
from typing import Any

import pytest
import trio

from sozu_trio.config.memory import share
from sozu_trio.config.program import Program, Settings
from sozu_trio.control.messages import Happened
from sozu_trio.nursery.drain import Drain
from sozu_trio.nursery.memory import LEAVE
from sozu_trio.nursery.pressure import Pressure
from tests.nursery.counting import alone
from tests.nursery.overloading import overwhelm
from tests.nursery.parts import FakeHandler

pytestmark = pytest.mark.virtual_time

MEBIBYTE = 1 << 20


class Idle:
    """A drain with so many who only wait."""

    def __init__(self, many: int) -> None:
        self.drain = Drain()
        self.scopes = [trio.CancelScope() for _ in range(many)]
        for scope in self.scopes:
            self.drain.enter_idle(scope)

    @property
    def left(self) -> int:
        """How many were told to leave."""
        return sum(scope.cancel_called for scope in self.scopes)


class Rig:
    """The pressure of a worker with two listeners; its process has `used` bytes."""

    def __init__(self, group_limit: int | None = None) -> None:
        self.used = 0
        self.told: list[Happened] = []
        self.handler = FakeHandler(Program(), 1, alone())
        self.nodes: list[Any] = [Idle(20), Idle(20)]
        process: Any = SimpleNamespace(resident=lambda: self.used, group_limit=group_limit)
        self.pressure = Pressure("worker 1", lambda: self.nodes, self.handler, process, self.told.append)

    def look(self, used: int) -> list[str]:
        """What is short once it has so much."""
        assert self.pressure.memory is not None
        self.used = used
        self.pressure.memory.look()
        return self.pressure.sheds


async def test_memory_is_what_is_configured_and_the_idle_leave_before_anybody_is_refused() -> None:
    rig = Rig()
    rig.pressure.follow(Settings(max_memory=100 * MEBIBYTE, overload_lag=0))
    assert rig.look(90 * MEBIBYTE) == []
    assert [node.left for node in rig.nodes] == [LEAVE, 0]
    assert rig.handler.counters.evicted == LEAVE
    assert rig.look(99 * MEBIBYTE) == ["memory"]
    assert rig.handler.doors.capacity.is_closed
    assert rig.look(10 * MEBIBYTE) == []
    assert not rig.handler.doors.capacity.is_closed
    assert rig.told == [
        Happened(kind="MEMORY_SHORTAGE_BEGAN", details="worker 1"),
        Happened(kind="MEMORY_SHORTAGE_ENDED", details="worker 1"),
    ]


@pytest.mark.parametrize(
    ("settings", "group_limit", "short"),
    [
        (Settings(overload_lag=0), None, False),
        (Settings(overload_lag=0), 500 * MEBIBYTE, True),
        (Settings(overload_lag=0, max_memory=0), 500 * MEBIBYTE, False),
        (Settings(overload_lag=0, max_memory=900 * MEBIBYTE), 500 * MEBIBYTE, False),
    ],
)
async def test_the_share_of_the_group_is_for_those_who_say_nothing(
    settings: Settings, group_limit: int | None, short: bool
) -> None:
    rig = Rig(group_limit)
    rig.pressure.follow(settings)
    assert bool(rig.look(share(500 * MEBIBYTE, 1))) is short


async def test_overload_is_told() -> None:
    rig = Rig()
    overwhelm(rig.pressure.overload)
    assert rig.pressure.sheds == ["overload"]
    rig.pressure.overload.stop()
    assert [each.kind for each in rig.told] == ["OVERLOAD_BEGAN", "OVERLOAD_ENDED"]


async def test_who_would_have_to_leave_anyhow_makes_no_room() -> None:
    rig = Rig()
    rig.nodes[0].drain.start()
    assert rig.pressure.evict(30) == 20
    assert rig.nodes[1].left == 20
