"""A control server that leaves off, and one that goes on with a client of it."""

import math
import os
import socket
import threading
from pathlib import Path

import pytest
import trio

from sozu_trio.control import conversation
from sozu_trio.control.answering import Answer, Progress
from sozu_trio.control.codec import converter
from sozu_trio.control.conversation import LEFT_OUT, Handover
from sozu_trio.control.permissions import Peer
from sozu_trio.control.protocol import Request, read_request
from tests.control.conversing import open_control

pytestmark = pytest.mark.virtual_time

GRACE = 5.0


async def test_everybody_is_answered_or_let_go_and_it_can_go_on(tmp_path: Path) -> None:
    async with open_control(tmp_path) as control:
        async with control.greeted() as idle, control.greeted() as quick, control.greeted() as stuck:
            await quick.send({"id": 1, "verb": "wait"})
            await stuck.send({"id": 2, "verb": "wait"})
            await trio.testing.wait_all_tasks_blocked()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(control.server.pause, GRACE)
                assert await idle.ended()
                control.answers.release[1].set()
                assert await quick.said() == (1, "ok", "waited")
                assert await quick.ended()
                before = trio.current_time()
                assert await stuck.ended()
                assert trio.current_time() - before == pytest.approx(GRACE)
            assert control.server.clients == 0
        async with control.connect() as later:
            await trio.testing.wait_all_tasks_blocked()
            assert control.server.clients == 0
            control.server.resume()
            assert (await later.reply())["message"] == "hello"


async def test_a_client_is_gone_on_with_where_it_was(tmp_path: Path) -> None:
    """Both servers are of this process; the second one gets a copy of the descriptor, as a new image of main does."""
    (tmp_path / "next").mkdir()
    told: list[Peer] = []

    async def answer(peer: Peer, request: Request, progress: Progress) -> Answer:
        told.append(peer)
        await progress("half way", None)
        return Answer("done", {"id": request.id})

    async with (
        open_control(tmp_path) as control,
        open_control(tmp_path / "next") as following,
        control.greeted() as client,
    ):
        await client.send({"id": "a", "verb": "change wait"}, {"id": "b", "verb": "count", "body": {"to": 1}})
        await client.send({"id": "d", "verb": "change later"})
        await client.send(b'{"v": 1, "id": "c", ')
        await trio.testing.wait_all_tasks_blocked()
        handover = await control.server.pause(GRACE, control.answers.peers[0].client_id, "a")
        assert handover is not None
        assert handover.begun == '{"v": 1, "id": "c", '
        assert converter.structure(converter.unstructure(handover), Handover) == handover
        following.server.go_on(handover, answer)
        assert [await client.said() for _ in range(2)] == [("b", "processing", "counting"), ("b", "ok", "counted")]
        number, status, message = await client.said()
        assert (number, status) == ("d", "failure")
        assert message == LEFT_OUT
        assert [await client.said() for _ in range(2)] == [("a", "processing", "half way"), ("a", "ok", "done")]
        await client.send(b'"verb": "echo"}\n')
        assert await client.said() == ("c", "ok", "here you are")
        assert (told[0].uid, told[0].pid) == (os.getuid(), os.getpid())


async def test_whatever_has_come_is_answered_once(tmp_path: Path) -> None:
    """More requests than may be under way."""
    async with open_control(tmp_path) as control, control.greeted() as client:
        await client.send({"id": "upgrade", "verb": "change wait"})
        await client.send(*({"id": number, "verb": "change it"} for number in range(100)))
        await trio.testing.wait_all_tasks_blocked()
        handover = await control.server.pause(GRACE, control.answers.peers[0].client_id, "upgrade")
        assert handover is not None
        os.close(handover.descriptor)
        said = [await client.said() for _ in range(100)]
        assert sorted(number for number, _, _ in said) == [*range(100)]
        assert {message for _, _, message in said} == {LEFT_OUT}
        control.answers.release["upgrade"].set()
        assert await client.said() == ("upgrade", "ok", "waited")
        assert await client.ended()
        assert control.answers.done == ["upgrade"]


async def test_a_request_that_is_being_read_is_answered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large ones are read in a thread; virtual time passes meanwhile."""
    gate, read = threading.Event(), read_request

    def read_late(line: bytes) -> Request:
        if b"large" in line:
            assert gate.wait(10)
        return read(line)

    monkeypatch.setattr(conversation, "read_request", read_late)
    handovers: list[Handover | None] = []

    async def pause() -> None:
        handovers.append(await control.server.pause(math.inf, control.answers.peers[0].client_id, "upgrade"))

    async with open_control(tmp_path) as control, control.greeted() as client:
        await client.send({"id": "upgrade", "verb": "change wait"})
        await client.send({"id": "large", "verb": "change it", "body": {"filling": "x" * 60_000}})
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pause)
            await trio.testing.wait_all_tasks_blocked()
            gate.set()
            assert await client.said() == ("large", "failure", LEFT_OUT)
        (handover,) = handovers
        assert handover is not None
        os.close(handover.descriptor)
        assert handover.begun == ""


async def test_who_does_not_read_keeps_nothing_under_way(tmp_path: Path) -> None:
    """The answer to `late` finds no room until the time is over."""
    async with open_control(tmp_path) as control, control.greeted() as client:
        await client.send({"id": "upgrade", "verb": "change wait"}, {"id": "late", "verb": "change it"})
        await client.send({"id": "large", "verb": "large", "body": {"bytes": 4_000_000}})
        await trio.testing.wait_all_tasks_blocked()
        assert await control.server.pause(GRACE, control.answers.peers[0].client_id, "upgrade") is None
        control.answers.release["upgrade"].set()
        assert [await client.said() for _ in range(2)] == [("large", "ok", "large"), ("upgrade", "ok", "waited")]
        assert await client.ended()


async def test_a_change_waits_for_the_one_that_is_gone_on_with(tmp_path: Path) -> None:
    done = trio.Event()

    async def answer(_peer: Peer, _request: Request, _progress: Progress) -> Answer:
        await done.wait()
        return Answer("done")

    (tmp_path / "next").mkdir()
    async with (
        open_control(tmp_path) as control,
        open_control(tmp_path / "next") as following,
        control.greeted() as client,
    ):
        await client.send({"id": "upgrade", "verb": "change wait"})
        await trio.testing.wait_all_tasks_blocked()
        handover = await control.server.pause(GRACE, control.answers.peers[0].client_id, "upgrade")
        assert handover is not None
        following.server.go_on(handover, answer)
        for each in "ab":
            await client.send({"id": each, "verb": "change it"})
        await trio.testing.wait_all_tasks_blocked()
        assert following.answers.begun == []
        done.set()
        assert [(await client.said())[0] for _ in range(3)] == ["upgrade", "a", "b"]
        await client.send({"id": "c", "verb": "change it"})
        assert await client.said() == ("c", "ok", "here you are")


async def test_what_is_left_of_a_client_who_goes_meanwhile_is_no_other_descriptor(tmp_path: Path) -> None:
    async with open_control(tmp_path) as control:
        async with control.greeted() as client:
            await client.send({"id": 1, "verb": "change wait"})
            await trio.testing.wait_all_tasks_blocked()
            handover = await control.server.pause(GRACE, control.answers.peers[0].client_id, 1)
        await trio.testing.wait_all_tasks_blocked()
        assert control.server.clients == 0
        assert handover is not None
        with socket.socket(fileno=handover.descriptor) as left:
            assert left.recv(1) == b""


async def test_one_who_has_gone_is_not_waited_for(tmp_path: Path) -> None:
    async with open_control(tmp_path) as control:
        async with control.greeted() as client:
            await client.send({"id": 1, "verb": "change wait"})
            await trio.testing.wait_all_tasks_blocked()
        await trio.testing.wait_all_tasks_blocked()
        assert await control.server.pause(GRACE, control.answers.peers[0].client_id, 1) is None


async def test_a_stop_ends_a_pause(tmp_path: Path) -> None:
    async with open_control(tmp_path) as control:
        await control.server.pause(GRACE)
        control.server.stop(GRACE)
        await trio.testing.wait_all_tasks_blocked()
        with pytest.raises(OSError, match=r"refused|connect"):
            async with control.connect():
                pass
