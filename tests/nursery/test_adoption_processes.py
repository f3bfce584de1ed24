"""What becomes of the process that main finds behind a door: killed, spared, kept to its end, or left to itself."""

import errno
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.lowlevel

from sozu_trio.config.addresses import Address
from sozu_trio.control.channel import Channel
from sozu_trio.control.messages import Adopt, Adopted, Ask, Counted, Holding, Reply, Stop
from sozu_trio.errors import OperatorError
from sozu_trio.nursery import adoption
from sozu_trio.nursery.adoption import Orphan, find_orphans
from sozu_trio.nursery.door import doors_in, knock, make_door
from sozu_trio.nursery.estate import Estate
from sozu_trio.nursery.orphan import Door
from sozu_trio.nursery.post import Spawned
from sozu_trio.nursery.sockets import ListeningSockets
from sozu_trio.nursery.supervisor import Supervisor
from sozu_trio.routing.state import declare
from sozu_trio.telemetry.counters import Counters
from tests.nursery.leaving_behind import PATIENCE, PROGRAM, SECRET, closed, left, no_spawn

KEY = "tcp", Address("127.0.0.1", 1)
HERE = "tcp", Address("127.0.0.2", 1999)
"""Where one listens that is made up."""
MOST_HELD = 8
SLEEPER = """
import socket, sys, time
sock = socket.socket(fileno=int(sys.argv[1]))
sock.listen(1)
print(flush=True)
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def _bounded(nursery: trio.Nursery) -> None:
    nursery.cancel_scope.deadline = trio.current_time() + PATIENCE


@contextmanager
def sleeper(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A process behind a door that never answers."""
    sock, _ = make_door(directory, 0)
    with sock:
        fd = sock.fileno()
        process = subprocess.Popen(
            [sys.executable, "-c", SLEEPER, str(fd)], pass_fds=[fd], stdout=subprocess.PIPE, text=True
        )
    with process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield process
        finally:
            process.kill()


async def test_one_that_does_not_answer_is_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with sleeper(tmp_path) as process:
        (door,) = doors_in(tmp_path)
        assert await find_orphans(tmp_path, 0.2) == []
        assert process.wait(PATIENCE) == -signal.SIGKILL
    assert f"worker at {door} (pid {process.pid}) does not answer within 0.2 s: it is killed" in caplog.text
    assert doors_in(tmp_path) == []


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator["subprocess.Popen[str]"]:
    """What is taken for the process behind every door."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], text=True) as started:
        monkeypatch.setattr(adoption, "knock", lambda path: (knock(path)[0], started.pid))
        yield started
        started.kill()


@pytest.mark.parametrize(
    ("says", "sends", "why"),
    [
        ([], 0, "it has gone"),
        ([Reply(serial=0)], 0, "it does not say who it is"),
        ([Adopted(worker_id=5, program=PROGRAM, secret=SECRET), Reply(serial=0)], 1, "it does not say who it is"),
        ([Counted(counters=(1,))], 0, "Counted with 0 descriptors makes no sense"),
        ([Adopted(worker_id=0, program=PROGRAM, secret=SECRET)], 0, "Adopted with 0 descriptors makes no sense"),
        ([Adopted(worker_id=0, program=PROGRAM, secret="ab")], 1, "Adopted with 1 descriptors makes no sense"),
        ([Adopted(worker_id=0, program=PROGRAM, secret="no" * 16)], 1, "Adopted with 1 descriptors makes no sense"),
        ([Holding(sockets=((0, *KEY),))], 0, "Holding with 0 descriptors makes no sense"),
        ([Holding(sockets=((0, *HERE), (0, *HERE)))], 2, f"it names its socket 2, for {HERE[1]} of worker 0, twice"),
        ([Holding(sockets=tuple((each, *HERE) for each in range(10)))], 10, f"it names its socket 9, for {HERE[1]} of"),
        ([Holding(sockets=((0, *KEY),))], 1, "its socket for 127.0.0.1:1 does not listen there"),
    ],
)
async def test_one_that_makes_no_sense_is_killed(
    tmp_path: Path,
    says: list[object],
    sends: int,
    why: str,
    process: "subprocess.Popen[str]",
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It would go on serving by another State than all others. `sends`: so many sockets come with its first word."""
    monkeypatch.setattr(adoption, "_most_held", lambda: MOST_HELD)
    address = HERE[1] if f"{HERE[1]}" in why else Address("127.0.0.1", 0)
    assert await answered(tmp_path, says, sends=sends, address=address) == []
    assert f"(pid {process.pid}) is not adopted, and killed: {why}" in caplog.messages[-1]
    assert process.wait(PATIENCE) == -signal.SIGKILL
    assert doors_in(tmp_path) == []


@pytest.mark.parametrize("failure", [None, "another protocol"])
async def test_one_that_is_to_be_spared_is_left_alone(
    tmp_path: Path, process: "subprocess.Popen[str]", failure: str | None
) -> None:
    """It may be our fault, and who ran before gets along with it."""
    why = pytest.RaisesExc(OperatorError, match="cannot be adopted: (it does not|another)")
    with pytest.RaisesGroup(why, flatten_subgroups=True):
        await answered(tmp_path, [Reply(serial=0, failure=failure)], spared=process.pid)
    assert process.poll() is None
    assert len(doors_in(tmp_path)) == 1


async def test_one_that_does_not_answer_is_spared_as_well(tmp_path: Path) -> None:
    with sleeper(tmp_path) as process:
        with pytest.RaisesGroup(pytest.RaisesExc(OperatorError, match="it does not answer within 0.2 s")):
            await find_orphans(tmp_path, 0.2, {process.pid})
        assert process.poll() is None
    assert len(doors_in(tmp_path)) == 1


async def test_one_that_refuses_ends_by_itself(
    tmp_path: Path, process: "subprocess.Popen[str]", caplog: pytest.LogCaptureFixture
) -> None:
    assert await answered(tmp_path, [Reply(serial=0, failure="another protocol")]) == []
    assert caplog.messages[-1].endswith("is not adopted, and stops: another protocol")
    assert process.poll() is None
    assert doors_in(tmp_path) == []


async def answered(
    directory: Path,
    says: list[object],
    *,
    sends: int = 0,
    spared: int = 0,
    address: Address = Address("127.0.0.1", 0),  # noqa: B008 - it is frozen
) -> list[Orphan]:
    """Who is adopted where one answers Adopt by `says`; what it sends listens at `address`."""
    listening = socket.create_server((address.host, address.port))

    async def say(channel: Channel[Ask]) -> None:
        received = await channel.receive()
        assert received is not None
        assert isinstance(received[0], Adopt)
        for number, each in enumerate(says):
            await channel.send(each, [] if number else [listening.fileno()] * sends)
        channel.close()

    sock, _ = make_door(directory, 0)
    door = Door(sock)
    with listening:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(door.next_main, say)
            try:
                orphans = await find_orphans(directory, PATIENCE, {spared})
            finally:
                door.close()
    return orphans


async def test_where_there_is_no_telling_nobody_is_touched(
    tmp_path: Path, process: "subprocess.Popen[str]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when main has no descriptor left."""
    sock, path = make_door(tmp_path, 0)
    with sock:
        monkeypatch.setattr(adoption, "knock", no_descriptor)
        with pytest.RaisesGroup(pytest.RaisesExc(OperatorError, match=f"{path} cannot be adopted: .*Too many open")):
            await find_orphans(tmp_path, PATIENCE)
    assert doors_in(tmp_path) == [path]
    assert process.poll() is None


def no_descriptor(_: Path) -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


@asynccontextmanager
async def staying(directory: Path, pid: int) -> AsyncIterator[tuple[Orphan, trio.CancelScope]]:
    async with left(directory, 0):
        with closed(await find_orphans(directory, PATIENCE)) as (orphan,):
            async with trio.open_nursery() as nursery:
                spawned: Spawned = await nursery.start(orphan.stay)
                assert spawned.pid == pid
                yield orphan, nursery.cancel_scope


async def test_its_end_is_seen(tmp_path: Path, process: "subprocess.Popen[str]") -> None:
    async with staying(tmp_path, process.pid):
        process.kill()
    assert doors_in(tmp_path) == []


async def test_it_outlives_a_main_that_cannot_go_on(tmp_path: Path, process: "subprocess.Popen[str]") -> None:
    async with staying(tmp_path, process.pid) as (_, scope):
        scope.cancel(reason="main has to end")
    assert process.poll() is None
    assert len(doors_in(tmp_path)) == 1


async def test_one_that_is_given_up_is_killed_and_reaped(
    tmp_path: Path, process: "subprocess.Popen[str]", caplog: pytest.LogCaptureFixture
) -> None:
    async with staying(tmp_path, process.pid) as (orphan, scope):
        orphan.given_up = True
        scope.cancel(reason="it is of no use")
    assert f"worker 0 (pid {process.pid}) has ended with SIGKILL" in caplog.text
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG)  # noqa: ASYNC222 - it does not wait
    assert doors_in(tmp_path) == []


async def test_one_that_is_given_up_and_to_be_spared_ends_whoever_keeps_it(
    tmp_path: Path, process: "subprocess.Popen[str]"
) -> None:
    why = pytest.RaisesExc(OperatorError, match=f"pid {process.pid}. cannot be gone on with")
    with pytest.RaisesGroup(why, flatten_subgroups=True):
        async with staying(tmp_path, process.pid) as (orphan, scope):
            orphan.given_up = orphan.is_spared = True
            scope.cancel(reason="it is of no use")
    assert process.poll() is None
    assert len(doors_in(tmp_path)) == 1


async def test_where_it_is_cannot_be_told_of_one_that_has_ended(
    tmp_path: Path, process: "subprocess.Popen[str]"
) -> None:
    async with left(tmp_path, 0):
        with closed(await find_orphans(tmp_path, PATIENCE)) as (orphan,):
            async with trio.open_nursery() as nursery:
                spawned: Spawned = await nursery.start(orphan.stay)
                assert spawned.where is not None
                process.kill()
                process.wait()
                assert await spawned.where() == "It has ended"


async def test_nobody_is_told_to_stop_as_long_as_there_is_a_way_back(
    tmp_path: Path, process: "subprocess.Popen[str]"
) -> None:
    async with left(tmp_path, 0, 1) as (_, surplus):
        with closed(await find_orphans(tmp_path, PATIENCE, {process.pid})) as orphans:
            nothing = Counters().numbers()
            sockets = ListeningSockets(1).left()
            estate = Estate(generation=4, worker_count=1, workers=[], past=nothing, sockets=sockets)
            supervisor = Supervisor(replace(PROGRAM, worker_timeout=0), no_spawn, lambda _: None)
            supervisor.succeed(estate, orphans)
            async with trio.open_nursery() as nursery:
                await nursery.start(supervisor.run, orphans)
                await trio.sleep(0.1)
                assert [type(each).__name__ for each in surplus.asked] == ["CountIn"]
                assert [orphan.is_spared for orphan in orphans] == [True, True]
                nursery.start_soon(supervisor.go_on, declare([], [], [], [], []), 4)
                while len(surplus.asked) < 2:
                    await trio.lowlevel.checkpoint()
                assert isinstance(surplus.asked[1], Stop)
                assert [orphan.is_spared for orphan in orphans] == [False, False]
                nursery.cancel_scope.cancel(reason="the test is over")
