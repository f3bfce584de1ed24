"""Several workers, asked at once."""

import socket
from functools import partial
from pathlib import Path

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.addresses import Address
from sozu_trio.control.messages import Kill, Listen, Look, Stop
from sozu_trio.nursery.asking import ask_all, kill_session_of, look_at
from sozu_trio.nursery.workers import WorkerHandle, WorkerRefused
from tests.nursery.crewing import TIMEOUT, running
from tests.nursery.parts import Workers, connected
from tests.tls.parts import issue

pytestmark = pytest.mark.virtual_time
ADDRESS = Address("127.0.0.1", 1)


async def test_each_has_its_id_and_its_program() -> None:
    workers = Workers()
    async with running(workers) as crew:
        assert [worker.worker_id for worker in crew.living] == [handler.worker_id for handler in workers.handlers]
        assert {handler.program.worker_timeout for handler in workers.handlers} == {TIMEOUT}
    assert crew.living == []
    assert len(crew.workers) == 3


async def test_each_gets_the_systems_authorities(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(issue(common_name="root", authority=True).pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(bundle))
    workers = Workers()
    async with running(workers):
        assert {handler.authorities for handler in workers.handlers} == {bundle.read_text()}


async def test_all_are_asked_at_once_and_those_who_refuse_are_named() -> None:
    begun: list[int] = []

    async def ask(worker: WorkerHandle) -> None:
        begun.append(worker.worker_id)
        await trio.sleep(1)
        if worker.worker_id:
            raise WorkerRefused(f"worker {worker.worker_id}: no")

    async with running(Workers()) as crew:
        started = trio.current_time()
        refusals = await ask_all(crew.living, ask)
        assert trio.current_time() == started + 1
        assert (sorted(begun), [who.worker_id for who in sorted(refusals)]) == ([0, 1, 2], [1, 2])
        assert str(refusals[crew.living[2].who]) == "worker 2: no"
        assert await ask_all(crew.living[:1], ask) == {}


async def test_who_does_not_answer_in_time_is_left_out_of_what_is_looked_at(caplog: pytest.LogCaptureFixture) -> None:
    workers = Workers()
    async with running(workers) as crew:
        workers.channels[1].ignored.add(Look)
        begun = trio.current_time()
        assert [who.worker_id for who in await look_at(crew.living, "sessions", {})] == [0, 2]
        assert trio.current_time() == begun + TIMEOUT
        assert [worker.answering for worker in crew.workers] == [True, False, True]
    assert "worker 1: no answer to Look within 7 s" in caplog.text


async def test_what_cannot_be_looked_at_is_refused() -> None:
    async with running(Workers()) as crew:
        with pytest.raises(WorkerRefused, match="nobody knows the future"):
            await look_at(crew.living, "future", {})


async def test_a_session_is_killed_wherever_it_is() -> None:
    workers = Workers()
    async with running(workers) as crew:
        with socket.create_server(("127.0.0.1", 0)) as sock, connected(sock):
            await crew.living[1].ask(partial(Listen, transport="tcp", address=ADDRESS), [sock])
            await wait_all_tasks_blocked()
            (session,) = workers.handlers[1].names
            workers.channels[0].refused.add(Kill)
            assert await kill_session_of(crew.living, session) is True
            with pytest.raises(WorkerRefused, match="worker 0: not today"):
                await kill_session_of(crew.living, session)
            workers.channels[0].refused.clear()
            assert await kill_session_of(crew.living, session) is False


async def test_a_session_that_moves_while_workers_are_asked_is_killed_in_the_end() -> None:
    """The first is asked before it has it, the second when it has it no more."""
    workers = Workers()
    async with running(workers) as crew:
        with socket.create_server(("127.0.0.1", 0)) as sock, connected(sock):
            late = trio.Event()
            workers.channels[1].delayed = {Kill: late}
            async with trio.open_nursery() as nursery:

                async def kill() -> None:
                    assert await kill_session_of(crew.living, "session-1") is True

                nursery.start_soon(kill)
                await wait_all_tasks_blocked()
                assert len(workers.channels[0].heard_of(Kill)) == 1
                await crew.living[0].ask(partial(Listen, transport="tcp", address=ADDRESS), [sock])
                await wait_all_tasks_blocked()
                assert workers.handlers[0].names == ["session-1"]
                late.set()


async def test_what_workers_have_counted_adds_up_and_outlives_them() -> None:
    workers = Workers()
    async with running(workers) as crew:
        for number, handler in enumerate(workers.handlers, 1):
            handler.counters.requests = number
            handler.counters.tunnels = number
        await look_at(crew.living, "counters", {})
        assert (crew.counters().requests, crew.counters().tunnels) == (6, 6)
        workers.handlers[0].counters.requests = 100
        await crew.dismiss([0], 0)
        await wait_all_tasks_blocked()
        assert [worker.worker_id for worker in crew.living] == [1, 2]
        assert (crew.counters().requests, crew.counters().tunnels) == (105, 5)
    assert (crew.counters().requests, crew.counters().tunnels) == (105, 0)


async def test_who_was_told_to_stop_is_stopping_then_stopped() -> None:
    workers = Workers()
    async with running(workers) as crew:
        with socket.create_server(("127.0.0.1", 0)) as sock, connected(sock) as (client,):
            await crew.living[1].ask(partial(Listen, transport="tcp", address=ADDRESS), [sock])
            client.sendall(b"busy")
            await wait_all_tasks_blocked()
            crew.living[1].listening.add(("tcp", ADDRESS))
            assert [worker.listening for worker in crew.serving] == [set(), {("tcp", ADDRESS)}, set()]
            await crew.stop(None)
            await wait_all_tasks_blocked()
            assert [worker.status(0).state for worker in crew.workers] == ["stopped", "stopping", "stopped"]
            assert [(worker.worker_id, worker.listening) for worker in crew.serving] == [(1, set())]


async def test_a_stop_that_cannot_be_told_is_an_error() -> None:
    workers = Workers()
    async with running(workers) as crew:
        workers.channels[1].refused.add(Stop)
        with pytest.raises(WorkerRefused, match="worker 1: not today"):
            await crew.stop(None)
        await wait_all_tasks_blocked()
        assert [worker.worker_id for worker in crew.living] == [1]
        workers.channels[1].refused.clear()


async def test_who_has_died_meanwhile_has_not_refused() -> None:
    workers = Workers()

    async def ask(worker: WorkerHandle) -> None:
        if worker.worker_id == 1:
            workers.kill(1)
        await worker.ask(partial(Look, what="sessions", query={}))

    async with running(workers) as crew:
        assert await ask_all(crew.living, ask) == {}
