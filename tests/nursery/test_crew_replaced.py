"""Workers that die, hang or cannot be had: replaced as soon as it makes sense, and no stop waits for them."""

import errno
import os
from functools import partial

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from sozu_trio.config.limits import GOODBYE
from sozu_trio.config.program import Program
from sozu_trio.control.channel import Channel
from sozu_trio.control.messages import Ask, Beat, Begin, Stop
from sozu_trio.errors import OperatorError
from sozu_trio.nursery.asking import look_at
from sozu_trio.nursery.crew import HEALTHY_AFTER, LONGEST_PAUSE, Crew
from sozu_trio.nursery.post import Spawned
from sozu_trio.nursery.worker import serve_worker
from tests.descriptors import no_descriptor_free
from tests.nursery.crewing import TIMEOUT, running
from tests.nursery.parts import FakeHandler, Workers

pytestmark = pytest.mark.virtual_time


async def test_who_dies_is_replaced_at_once_and_what_it_has_counted_still_counts(
    caplog: pytest.LogCaptureFixture,
) -> None:
    workers = Workers()
    async with running(workers) as crew:
        workers.handlers[1].counters.requests = 7
        workers.handlers[1].counters.tunnels = 1
        await look_at(crew.living, "counters", {})
        begun = trio.current_time()
        workers.kill(1)
        await wait_all_tasks_blocked()
        assert [handler.worker_id for handler in workers.handlers] == [0, 1, 2, 1]
        assert [worker.worker_id for worker in crew.living] == [0, 1, 2]
        assert trio.current_time() == begun
        assert (crew.counters().requests, crew.counters().tunnels) == (7, 0)
        assert "worker 1 is gone" in caplog.text


async def test_who_keeps_dying_is_replaced_ever_later_until_one_has_lived(caplog: pytest.LogCaptureFixture) -> None:
    workers = Workers()
    async with running(workers) as crew:
        pauses = []
        for _ in range(10):
            begun = trio.current_time()
            workers.kill(-1)
            await wait_all_tasks_blocked()
            while crew.workers[2].over:
                await trio.sleep(0.05)
                await wait_all_tasks_blocked()
            pauses.append(round(trio.current_time() - begun, 1))
        assert pauses[:5] == [0.0, 0.1, 0.2, 0.4, 0.8]
        assert pauses[-1] == LONGEST_PAUSE
        said = [each.getMessage().partition(") is replaced ")[2] for each in caplog.records]
        assert [each for each in said if each][:3] == ["now", "in 0.1 s", "in 0.2 s"]
        await trio.sleep(HEALTHY_AFTER)
        begun = trio.current_time()
        workers.kill(-1)
        await wait_all_tasks_blocked()
        assert (crew.workers[2].over, trio.current_time()) == (False, begun)


async def test_a_stop_does_not_wait_for_a_worker_that_is_to_be_replaced() -> None:
    workers = Workers()
    async with running(workers) as crew:
        for _ in range(8):
            workers.kill(-1)
            await trio.sleep(0.01)
        assert len(crew.living) == 2
        begun = trio.current_time()
    assert trio.current_time() == begun
    assert len(workers.handlers) == 4


async def test_one_that_never_begins_is_an_error() -> None:
    async def die(_worker_id: int, channel: Channel[Ask], *, task_status: trio.TaskStatus[Spawned]) -> None:
        task_status.started(Spawned(1))
        channel.close()

    crew = Crew(Program(), die, print, print)
    with pytest.RaisesGroup(pytest.RaisesExc(OperatorError, match="worker 0 has ended before it began")):
        async with trio.open_nursery() as nursery:
            await nursery.start(crew.keep, 0)


async def test_the_process_of_one_that_has_not_begun_is_known() -> None:
    async def spawn(_: int, channel: Channel[Ask], *, task_status: trio.TaskStatus[Spawned]) -> None:
        with channel.detach():
            task_status.started(Spawned(77))
            await trio.sleep_forever()

    crew = Crew(Program(), spawn, print, print)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(crew.keep, 0)
        await wait_all_tasks_blocked()
        assert (crew.pids, crew.living) == ({77}, [])
        nursery.cancel_scope.cancel(reason="the test is over")
    assert crew.pids == set()


async def test_one_that_does_not_end_is_ended() -> None:
    ended = []

    async def linger(_worker_id: int, channel: Channel[Ask], *, task_status: trio.TaskStatus[Spawned]) -> None:
        task_status.started(Spawned(1))
        try:
            await serve_worker(channel, FakeHandler)
            channel.close()
            await trio.sleep_forever()
        finally:
            ended.append(trio.current_time())

    crew = Crew(Program(), linger, print, print)
    async with trio.open_nursery() as nursery:
        await nursery.start(crew.keep, 0)
        begun = trio.current_time()
        await crew.stop(0)
    assert ended == [begun + GOODBYE]


async def test_a_process_that_does_not_answer_is_killed_and_the_log_says_where_it_was(
    caplog: pytest.LogCaptureFixture,
) -> None:
    workers = Workers()

    async def where() -> str:
        await trio.lowlevel.checkpoint()
        return "It was asleep."

    async def spawn(worker_id: int, channel: Channel[Ask], *, task_status: trio.TaskStatus[Spawned]) -> None:
        task_status.started(Spawned(1, where))
        await workers.spawn(worker_id, channel, task_status=trio.TASK_STATUS_IGNORED)

    crew = Crew(Program(worker_timeout=TIMEOUT), spawn, print, print)
    async with trio.open_nursery() as nursery:
        await nursery.start(crew.keep, 0)
        await trio.sleep(10 * TIMEOUT)
        assert len(workers.ids) == 1
        workers.channel.ignored.add(Beat)
        await trio.sleep(2 * TIMEOUT)
        assert len(workers.ids) == 2
        assert crew.workers[0].answering
        await crew.stop(0)
    assert "worker 0: no answer to Beat within 7 s: it is killed. It was asleep." in caplog.text


async def test_where_nobody_is_to_be_replaced_the_others_go_on_to_the_last() -> None:
    workers = Workers()
    crew = Crew(Program(worker_automatic_restart=False), workers.spawn, print, print)
    with pytest.RaisesGroup(pytest.RaisesExc(OperatorError, match="no worker is left")):
        async with trio.open_nursery() as nursery:
            for worker_id in range(2):
                await nursery.start(crew.keep, worker_id)
            workers.kill(0)
            await wait_all_tasks_blocked()
            assert [worker.worker_id for worker in crew.living] == [1]
            workers.kill(1)


async def test_a_stop_does_not_wait_for_who_is_stuck(caplog: pytest.LogCaptureFixture) -> None:
    workers = Workers()
    crew = Crew(Program(worker_timeout=0), workers.spawn, workers.take_lines, workers.events.append)
    async with trio.open_nursery() as nursery:
        for worker_id in range(2):
            await nursery.start(crew.keep, worker_id)
        workers.channels[1].ignored.add(Stop)
        begun = trio.current_time()
        await crew.stop(5)
        assert trio.current_time() - begun <= 5 + 2 * GOODBYE
    assert "worker 1 has not ended in time: it is killed" in caplog.text
    assert "worker 0" not in caplog.text


async def test_one_that_stops_though_nobody_told_it_is_replaced() -> None:
    workers = Workers()
    async with running(workers) as crew:
        await crew.living[0].ask(partial(Stop, grace=0))
        await wait_all_tasks_blocked()
        assert workers.ids == [0, 1, 2, 0]
        assert [worker.worker_id for worker in crew.living] == [0, 1, 2]


class Crowded(Workers):
    """No worker can be started while `crowded`."""

    def __init__(self) -> None:
        super().__init__()
        self.crowded = False
        self.tries: list[float] = []
        """When somebody tried meanwhile."""

    async def spawn(self, worker_id: int, channel: Channel[Ask], *, task_status: trio.TaskStatus[Spawned]) -> None:
        if self.crowded:
            self.tries.append(trio.current_time())
            channel.close()
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
        await super().spawn(worker_id, channel, task_status=task_status)


async def test_a_start_fails_where_there_is_no_room_for_a_worker() -> None:
    workers = Crowded()
    workers.crowded = True
    crew = Crew(Program(), workers.spawn, print, print)
    told = "worker 0 cannot be started: .*Resource temporarily unavailable"
    with pytest.RaisesGroup(pytest.RaisesExc(OperatorError, match=told)):
        async with trio.open_nursery() as nursery:
            await nursery.start(crew.keep, 0)


async def test_a_replacement_there_is_no_room_for_is_tried_again_ever_later(caplog: pytest.LogCaptureFixture) -> None:
    workers = Crowded()
    async with running(workers) as crew:
        workers.crowded = True
        begun = trio.current_time()
        workers.kill(1)
        await trio.sleep(1)
        assert [round(each - begun, 1) for each in workers.tries] == [0.0, 0.1, 0.3, 0.7]
        assert [worker.worker_id for worker in crew.living] == [0, 2]
        workers.crowded = False
        await trio.sleep(1)
        assert [worker.worker_id for worker in crew.living] == [0, 1, 2]
    assert (
        "worker 1 cannot be started: [Errno 11] Resource temporarily unavailable; tried again in 0.1 s" in caplog.text
    )


async def test_a_stop_does_not_wait_for_a_worker_there_is_no_room_for() -> None:
    workers = Crowded()
    async with running(workers) as crew:
        workers.crowded = True
        workers.kill(1)
        await trio.sleep(100)
        begun = trio.current_time()
        await crew.stop(0)
    assert trio.current_time() == begun


async def test_a_replacement_is_tried_again_until_there_are_descriptors_for_it(
    caplog: pytest.LogCaptureFixture,
) -> None:
    workers = Workers()
    async with running(workers) as crew:
        with no_descriptor_free():
            workers.kill(1)
            await trio.sleep(5)
            assert [worker.worker_id for worker in crew.living] == [0, 2]
        await trio.sleep(LONGEST_PAUSE)
        assert [worker.worker_id for worker in crew.living] == [0, 1, 2]
    assert "worker 1 cannot be started: [Errno 24] Too many open files" in caplog.text


@pytest.mark.parametrize("kind", [Begin, None])
async def test_a_stop_does_not_wait_for_a_replacement_that_has_not_begun(kind: type[Ask] | None) -> None:
    """It has nothing, and could not be told."""
    workers = Workers()
    async with running(workers) as crew:
        workers.ignored_later |= {kind} if kind else set()
        workers.kill(1)
        await wait_all_tasks_blocked()
        if kind is None:
            workers.kill(3)
            await wait_all_tasks_blocked()
        await crew.stop(None)
        begun = trio.current_time()
    assert trio.current_time() == begun
