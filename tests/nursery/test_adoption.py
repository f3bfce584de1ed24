"""Main finds workers that a main before has left: whom it takes over, and whom it does not."""

import os
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.lowlevel

from sozu_trio.config.listeners import HttpListener
from sozu_trio.config.program import Program
from sozu_trio.control.messages import CountIn, Stop
from sozu_trio.nursery import adoption, tenure
from sozu_trio.nursery.adoption import find_orphans, is_sealed_as_required, settings_kept
from sozu_trio.nursery.crew import Crew
from sozu_trio.nursery.door import doors_in, make_door
from sozu_trio.nursery.estate import Estate, WorkerLeft
from sozu_trio.nursery.sockets import ListeningSockets
from sozu_trio.nursery.supervisor import Supervisor
from sozu_trio.routing.state import declare
from sozu_trio.telemetry.counters import Counters
from tests.nursery.leaving_behind import PATIENCE, PROGRAM, SECRET, closed, left, no_spawn


@pytest.fixture(autouse=True)
def _bounded(nursery: trio.Nursery) -> None:
    nursery.cancel_scope.deadline = trio.current_time() + PATIENCE


@pytest.mark.parametrize("failure", [None, "no descriptors"])
async def test_all_that_are_found_count_together_with_those_that_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: str | None
) -> None:
    """Also one that had no descriptors free at first, and with the keys they had."""
    monkeypatch.setattr(adoption, "_kill", lambda _: None)  # the worker is of this very process
    monkeypatch.setattr(tenure, "COUNT_AGAIN", 0.01)
    async with left(tmp_path, 0) as (one,):
        one.replies = [failure, None] if failure else [None]
        crew = Crew(replace(PROGRAM, worker_timeout=0), no_spawn, print, print)
        with closed(await find_orphans(tmp_path, PATIENCE)) as orphans:
            crew.count_with(orphans)
            async with trio.open_nursery() as nursery:
                await nursery.start(crew.keep, 0, orphans[0])
                await one.counts.wait()
                assert [type(each) for each in one.asked] == [CountIn] * (2 if failure else 1)
                assert one.tally.secret == bytes.fromhex(SECRET)
                nursery.cancel_scope.cancel(reason="the test is over")


async def test_where_nobody_is_there_are_none(tmp_path: Path) -> None:
    sock, path = make_door(tmp_path, 0)
    sock.close()
    assert await find_orphans(tmp_path, PATIENCE) == []
    assert not path.exists()
    assert await find_orphans(tmp_path / "none", PATIENCE) == []


async def test_who_is_there_comes_with_all_it_has(tmp_path: Path) -> None:
    async with left(tmp_path, 2, 0) as (two, zero):
        with closed(await find_orphans(tmp_path, PATIENCE)) as orphans:
            assert [(each.worker_id, each.pid, each.program) for each in orphans] == [
                (0, os.getpid(), PROGRAM),
                (2, os.getpid(), PROGRAM),
            ]
            for orphan, worker in zip(orphans, (zero, two), strict=True):
                assert (orphan.listening, orphan.lent) == ({worker.key}, [(7, worker.key)])
                sockets = orphan.take_sockets()
                assert [(owner, key) for owner, key, _ in sockets] == [(orphan.worker_id, worker.key), (7, worker.key)]
                for _, _, sock in sockets:
                    assert sock.getsockname() == worker.listening.getsockname()
                    sock.close()
                assert orphan.take_sockets() == []


async def test_sockets_that_main_has_already_are_not_kept_twice(tmp_path: Path) -> None:
    async with left(tmp_path, 2) as (two,):
        with closed(await find_orphans(tmp_path, PATIENCE, (), {(2, two.key)})) as (orphan,):
            assert (orphan.listening, orphan.lent) == ({two.key}, [(7, two.key)])
            ((owner, key, sock),) = orphan.take_sockets()
            assert (owner, key) == (7, two.key)
            sock.close()


async def test_one_that_is_not_needed_is_told_to_stop(tmp_path: Path) -> None:
    async with left(tmp_path, 0) as (worker,):
        (orphan,) = await find_orphans(tmp_path, PATIENCE)
        await orphan.dismiss(3)
        while not worker.asked:
            await trio.lowlevel.checkpoint()
        assert worker.asked == [Stop(serial=1, grace=3)]
    assert doors_in(tmp_path) == []


async def test_settings_that_it_does_not_follow(tmp_path: Path) -> None:
    async with left(tmp_path, 0):
        with closed(await find_orphans(tmp_path, PATIENCE)) as (orphan,):
            assert settings_kept(orphan, PROGRAM) == []
            other = Program(shutdown_timeout=1, worker_count=9)
            assert settings_kept(orphan, other) == ["shutdown_timeout", "orphan_timeout"]
            sealed = replace(PROGRAM, sandbox="require", user="nobody")
            assert settings_kept(orphan, sealed) == ["sandbox", "user"]
            assert not is_sealed_as_required(orphan, sealed)
            assert is_sealed_as_required(orphan, replace(sealed, sandbox="auto"))
            orphan.program = sealed
            assert is_sealed_as_required(orphan, sealed)
            assert not is_sealed_as_required(orphan, replace(sealed, user=None))


async def test_the_next_image_of_a_main_goes_on_with_what_it_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing but where it counts is told to a worker that is known to serve by what is in force."""
    monkeypatch.setattr(adoption, "_kill", lambda _: None)  # the worker is of this very process
    async with left(tmp_path, 0) as (one,):
        with closed(await find_orphans(tmp_path, PATIENCE)) as orphans, closing(ListeningSockets()) as sockets:
            sockets.adopt(0, one.key, one.listening.dup())
            past = Counters(requests=3).numbers()
            here = WorkerLeft(pid=os.getpid(), generation=4, channel=-1, counters=Counters(requests=7).numbers())
            gone = WorkerLeft(pid=1, generation=4, channel=-1, counters=Counters(requests=20, sessions=5).numbers())
            estate = Estate(generation=4, worker_count=1, workers=[here, gone], past=past, sockets=sockets.left())
            supervisor = Supervisor(replace(PROGRAM, worker_timeout=0), no_spawn, lambda _: None)
            supervisor.succeed(estate, orphans)
            async with trio.open_nursery() as nursery:
                await nursery.start(supervisor.run, orphans)
                state = declare([HttpListener(address=one.key[1])], [], [], [], [])
                await supervisor.go_on(state, 4)
                await trio.sleep(0.1)
                assert (supervisor.state, supervisor.generation, supervisor.worker_count) == (state, 4, 1)
                assert [(each.state, each.generation) for each in supervisor.workers] == [("running", 4)]
                counted = supervisor.counters()
                assert (counted.requests, counted.sessions) == (23, 0)
                assert [type(each).__name__ for each in one.asked] == ["CountIn"]
                assert [each.generation for each in supervisor.estate().workers] == [4]
                nursery.cancel_scope.cancel(reason="the test is over")
