"""What one supervisor leaves to the next: words nobody has heard, children nobody waits for."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest
import trio

from sozu_trio.config.addresses import Address
from sozu_trio.control.channel import channel_pair
from sozu_trio.control.codec import converter
from sozu_trio.control.messages import Counted, Happened, Lines, Logged
from sozu_trio.nursery.estate import Estate, WorkerLeft, hear_out, reap_left
from sozu_trio.nursery.sockets import Left, ListeningSockets
from sozu_trio.telemetry.counters import Counters

NOTHING = ListeningSockets(0).left()


ACCESS_LINE = "2026-01-31T12:00:00.000042Z 1 INFO-ACCESS WRK-00\tGET"
LOG_LINE = "2026-01-31T12:00:00.000042Z 1 INFO WRK-00\t"


def estate(*workers: WorkerLeft, sockets: Left = NOTHING) -> Estate:
    return Estate(generation=3, worker_count=2, workers=list(workers), past=(), sockets=sockets)


def left(pid: int = 1, channel: int = 0, generation: int | None = 3) -> WorkerLeft:
    return WorkerLeft(pid=pid, generation=generation, channel=channel, counters=())


async def test_what_nobody_has_heard_is_heard_and_the_worker_learns_that_main_is_gone() -> None:
    ours, theirs = channel_pair()
    said = [Lines(lines=ACCESS_LINE, dropped=0), Logged(lines=(LOG_LINE + "x" * 100_000,), dropped=2)]
    for each in said:
        await theirs.send(each)
    assert (await hear_out(estate(left(channel=ours.fileno()))))[0] == said
    assert await theirs.receive() is None
    # What was left is as open as before: an older image might have to go on with it.
    assert (await hear_out(estate(left(channel=ours.fileno()))))[0] == []
    ours.close()
    theirs.close()


async def test_what_a_worker_has_counted_since_still_counts() -> None:
    ours, theirs = channel_pair()
    counted = Counters(requests=7).numbers()
    for each in (Counted(counters=counted), Counted(counters=(1,)), Happened(kind="BACKEND_UP")):
        await theirs.send(each)
    heard, made = await hear_out(estate(left(pid=5, channel=ours.fileno())))
    assert [(worker.pid, worker.counters) for worker in made.workers] == [(5, counted)]
    assert heard[-1] == Happened(kind="BACKEND_UP")
    ours.close()
    theirs.close()


async def test_one_that_talks_nonsense_keeps_nobody_else_from_being_heard() -> None:
    (mad, mads), (ours, theirs) = channel_pair(), channel_pair()
    sock = mads.detach()
    sock.send(b"what?")
    await theirs.send(Lines(lines=ACCESS_LINE, dropped=0))
    heard, _ = await hear_out(estate(left(channel=mad.fileno()), left(channel=ours.fileno())))
    assert heard == [Lines(lines=ACCESS_LINE, dropped=0)]
    sock.close()
    for each in (mad, ours, theirs):
        each.close()


async def test_lines_that_pass_for_those_of_others_are_left_out() -> None:
    ours, theirs = channel_pair()
    own, forged = (Logged(lines=(LOG_LINE.replace("WRK-00", tag) + "x",), dropped=0) for tag in ("WRK-12", "MAIN"))
    for each in (own, forged):
        await theirs.send(each)
    assert (await hear_out(estate(left(channel=ours.fileno()))))[0] == [own]
    ours.close()
    theirs.close()


def start(code: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)


async def test_children_that_nobody_has_taken_over_are_waited_for() -> None:
    process, other = start("input()"), start("")
    assert process.stdin is not None
    assert other.stdin is not None
    other.stdin.close()
    with trio.fail_after(30):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reap_left, estate(left(process.pid), left(other.pid)), {other.pid})
            process.stdin.close()
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG)  # noqa: ASYNC222 - it does not wait
    assert other.wait() == 0
    process.returncode = 0


async def test_one_that_has_not_begun_is_waited_for_as_well() -> None:
    process = start("")
    process.stdin and process.stdin.close()
    with trio.fail_after(30):
        await reap_left(replace(estate(), beginning=[process.pid]), set())
    with pytest.raises(ChildProcessError):
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG)  # noqa: ASYNC222 - it does not wait
    process.returncode = 0


async def test_nobody_is_waited_for_who_was_reaped() -> None:
    process = start("")
    process.communicate()
    with trio.fail_after(30):
        await reap_left(estate(left(process.pid)), set())


def test_it_travels_as_json_and_names_what_must_stay_open() -> None:
    key = ("tcp", Address("::1", 80))
    sockets = Left(
        of=[(0, *key, 7)],
        workers=(0, 1),
        inherited=[(*key, 8)],
        from_outside=(key,),
        shared=(),
        unnumbered=(),
        numbers=[(*key, (0, 1))],
    )
    made = estate(left(5, 9), left(6, 10, None), sockets=sockets)
    assert converter.structure(converter.unstructure(made), Estate) == made
    assert made.descriptors == [9, 10, 7, 8]
    assert [made.generation_of(pid) for pid in (5, 6, 7)] == [3, None, None]
