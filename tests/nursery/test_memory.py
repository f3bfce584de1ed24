"""Memory that gets short: the idle leave, then nobody is let in, and there is a way back."""

import os

import pytest
import trio

from sozu_trio.nursery.memory import FULL, NEAR, PERIOD, Memory, give_back, open_statm, resident

BUDGET = 100 << 20


class Watched:
    """One of BUDGET, of which `used` is used; a look frees `freed` of it."""

    def __init__(self) -> None:
        self.used = 0.0
        self.freed = 0.0
        self.budget: int | None = BUDGET
        self.left = 0
        self.told: list[bool] = []
        self.memory = Memory(lambda: int(self.used * BUDGET), lambda: self.budget, self._leave, self.told.append)

    def _leave(self) -> int:
        self.left += 1
        self.used -= self.freed
        return 7

    def look(self, used: float) -> tuple[int, bool]:
        """How often the idle had to leave so far, and whether nobody is let in."""
        self.used = used
        self.memory.look()
        return self.left, self.memory.is_short


@pytest.fixture
def watched() -> Watched:
    return Watched()


def test_first_the_idle_leave_then_nobody_is_let_in_and_there_is_a_way_back(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    assert watched.look(0.5) == (0, False)
    assert watched.look(NEAR) == (1, False)
    assert watched.look(0.9) == (2, False)
    assert watched.look(FULL) == (3, True)
    assert watched.look(0.9) == (4, True)
    assert watched.look(0.8) == (4, False)
    assert watched.told == [True, False]
    assert [record.message for record in caplog.records] == [
        "85 MiB of 100 are used: 7 idle clients leave",
        "memory is short: nobody is let in",
        "there is memory again: clients are let in",
    ]


def test_it_is_said_again_when_it_happens_again(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    for used in (0.9, 0.5, 0.9):
        watched.look(used)
    assert len(caplog.records) == 2


def test_where_the_idle_make_room_clients_are_let_in(watched: Watched) -> None:
    watched.freed = 0.1
    assert watched.look(0.99) == (1, False)


def test_a_limit_that_is_taken_away(watched: Watched) -> None:
    assert watched.look(1.5) == (1, True)
    watched.budget = None
    assert watched.look(1.5) == (1, False)
    assert watched.told == [True, False]


@pytest.mark.virtual_time
async def test_it_looks_once_a_second(watched: Watched) -> None:
    watched.used = 0.9
    with trio.move_on_after(3.5 * PERIOD):
        await watched.memory.watch()
    assert watched.left == 3


def test_what_this_process_has_and_what_it_gives_back() -> None:
    statm = open_statm()
    try:
        before = resident(statm)
        blocks = [bytearray(b"x" * 100_000) for _ in range(500)]
        assert resident(statm) - before > 40 << 20
        del blocks
        give_back()
        assert resident(statm) - before < 20 << 20
    finally:
        os.close(statm)
