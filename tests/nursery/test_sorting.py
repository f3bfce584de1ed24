"""Who goes on of those that were found."""

from types import SimpleNamespace
from typing import Any

import pytest

from sozu_trio.config.program import Program
from sozu_trio.nursery.sorting import sort_out, take_sockets_over

OPEN = Program(sandbox="off")
SEALED = Program(sandbox="require")


def orphan(worker_id: int, pid: int, dismissed: list[int], *, leaving: bool = False, program: Program = OPEN) -> Any:
    async def dismiss(_: float | None) -> None:
        dismissed.append(pid)

    return SimpleNamespace(
        worker_id=worker_id, pid=pid, leaving=leaving, dismiss=dismiss, is_spared=True, program=program
    )


async def test_the_first_of_each_id_goes_on_and_its_doubles_end_once(caplog: pytest.LogCaptureFixture) -> None:
    dismissed: list[int] = []
    first, double, other = (orphan(each, pid, dismissed) for each, pid in ((0, 1), (0, 2), (1, 3)))
    leaving = orphan(0, 4, dismissed, leaving=True)
    found = sort_out([leaving, first, double, other])
    assert (found.adopted, found.doubles, found.leaving) == ({0: first, 1: other}, [double], [leaving])
    for _ in range(2):
        await found.dismiss_doubles(5)
    assert dismissed == [2]
    assert caplog.messages == ["worker 0 (pid 2) is one too many of its id: it stops"]


def test_nobody_is_spared_once_there_is_no_way_back() -> None:
    found = sort_out([orphan(0, 1, []), orphan(0, 2, [], leaving=True)])
    found.spare_nobody()
    assert not found.adopted[0].is_spared
    assert not found.leaving[0].is_spared


async def test_where_a_sandbox_is_required_nobody_goes_on_without(caplog: pytest.LogCaptureFixture) -> None:
    dismissed: list[int] = []
    opened, drains = orphan(0, 1, dismissed), orphan(1, 2, dismissed, leaving=True)
    sealed = orphan(1, 3, dismissed, program=SEALED)
    found = sort_out([opened, drains, sealed], SEALED)
    assert (found.adopted, found.unsealed, found.leaving) == ({1: sealed}, [opened, drains], [])
    await found.dismiss_doubles(5)
    assert sorted(dismissed) == [1, 2]
    assert 'worker 0 (pid 1): sandbox: found "require", but it began with other settings' in caplog.text
    assert sort_out([opened, sealed]).unsealed == sort_out([opened, sealed], OPEN).unsealed == []


def test_of_two_sockets_that_are_said_to_be_the_same_its_owners_counts() -> None:
    liar, honest = orphan(0, 1, []), orphan(1, 2, [])
    liar.take_sockets = lambda: [(1, "key", "a lie"), (0, "key", "its own")]
    honest.take_sockets = lambda: [(1, "key", "the truth")]
    taken: dict[tuple[int, str], str] = {}
    sockets: Any = SimpleNamespace(adopt=lambda owner, key, sock: taken.setdefault((owner, key), sock))
    take_sockets_over([liar, honest], sockets)
    assert taken == {(0, "key"): "its own", (1, "key"): "the truth"}
