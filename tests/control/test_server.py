"""The server as clients see it: who is let in, what is said when, and how it ends."""

import errno
import logging
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import trio

from sozu_trio.config.limits import ControlLimits
from sozu_trio.control import server
from sozu_trio.control.conversation import LEFT_OUT, Conversation
from sozu_trio.control.permissions import Permissions, process_name
from tests.control.conversing import Control, RawClient, open_control

pytestmark = pytest.mark.virtual_time

US = os.geteuid()
OWN, OTHER, LOOKER = 1, 1001, 1002


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[Control]:
    async with open_control(tmp_path) as control:
        yield control


async def test_hello_comes_first_and_on_demand(control: Control) -> None:
    async with control.connect() as client:
        hello = await client.reply()
        content = {"protocol": 1, "version": "0.1.0", "pid": os.getpid(), "generation": 7, "role": "full"}
        assert hello == {
            "id": None,
            "status": "ok",
            "message": "hello",
            "content": {**content, "max_request": 2_000_000},
        }
        await client.send({"id": 1, "verb": "hello"}, {"id": 2, "verb": "hello", "body": {"a": 1}})
        assert sorted([await client.said(), await client.said()]) == [
            (1, "ok", "hello"),
            (2, "failure", "hello takes no body"),
        ]


async def test_who_is_asking_is_known(control: Control) -> None:
    async with control.greeted() as client, control.greeted() as other:
        for asking in (client, other):
            await asking.send({"id": 1, "verb": "echo"})
            await asking.reply()
    one, two = control.answers.peers
    assert (one.uid, one.gid, one.pid) == (US, os.getegid(), os.getpid())
    assert one.process == process_name(os.getpid()) != "?"
    assert (one.client_id, two.client_id) == (1, 2)
    assert one.may_change


async def test_strangers_are_told_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with (
        open_control(tmp_path, Permissions(allowed_uids=[US + 1])) as control,
        control.connect() as client,
    ):
        assert await client.said() == (
            None,
            "failure",
            f"unauthorized: uid {US} is not among command_allowed_uids",
        )
        assert await client.ended()
        assert control.server.clients == 0
    assert "refused: unauthorized" in caplog.text


async def test_a_stranger_that_has_spoken_already_is_still_told_why(tmp_path: Path) -> None:
    async with open_control(tmp_path, Permissions(allowed_uids=[])) as control:
        with socket.socket(socket.AF_UNIX) as hasty:
            hasty.connect(os.fspath(control.path))
            hasty.sendall(b'{"v": 1, "id": 1, "verb": "echo"}\n')
            client = RawClient(trio.SocketStream(trio.socket.from_stdlib_socket(hasty)))
            assert (await client.said())[1] == "failure"
            assert await client.ended()


async def test_who_may_only_look_is_told_so(tmp_path: Path) -> None:
    async with open_control(tmp_path, Permissions(read_only_uids=[US])) as control, control.connect() as client:
        assert (await client.reply())["content"]["role"] == "read-only"


async def test_one_client_too_many_costs_the_others_nothing(tmp_path: Path) -> None:
    async with open_control(tmp_path, limits=ControlLimits(clients=2)) as control, control.greeted() as one:
        async with control.greeted():
            async with control.connect() as third:
                assert await third.said() == (None, "failure", "too many control clients: 2 are connected already")
                assert await third.ended()
            await one.send({"id": 1, "verb": "echo"})
            assert (await one.said())[1] == "ok"
        await trio.testing.wait_all_tasks_blocked()
        async with control.greeted():
            pass


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Whoever connects next is the user at the front."""
    queue: list[int] = []
    monkeypatch.setattr(server, "peer_credentials", lambda _sock: (queue.pop(0), 0, os.getpid()))
    monkeypatch.setattr(os, "geteuid", lambda: OWN)
    return queue


@pytest.mark.parametrize("operator", [0, OWN])
async def test_others_leave_places_for_the_operator(tmp_path: Path, users: list[int], operator: int) -> None:
    users += [OTHER, OTHER, OTHER, operator, operator, OTHER, operator, operator]
    limits = ControlLimits(clients=4, reserved_clients=2)
    kept = f"the last 2 places are kept for root and uid {OWN}"
    async with open_control(tmp_path, limits=limits) as control, control.greeted(), control.greeted():
        async with control.connect() as third:
            why = f"too many control clients: 2 are connected already, and {kept}"
            assert await third.said() == (None, "failure", why)
            assert await third.ended()
        async with control.greeted():
            async with control.greeted(), control.connect() as another:
                assert await another.said() == (None, "failure", "too many control clients: 4 are connected already")
                async with control.connect() as too_many:
                    assert (await too_many.said())[2] == "too many control clients: 4 are connected already"
            await trio.testing.wait_all_tasks_blocked()
            async with control.greeted():
                pass


async def test_those_who_only_look_get_half_of_the_places(tmp_path: Path, users: list[int]) -> None:
    users += [LOOKER, LOOKER, LOOKER, OTHER, LOOKER]
    limits = ControlLimits(clients=5, reserved_clients=0)
    permissions = Permissions(read_only_uids=[LOOKER])
    async with open_control(tmp_path, permissions, limits) as control, control.greeted():
        async with control.greeted():
            async with control.connect() as third:
                why = "too many read-only control clients: 2 are connected already, and they get half of the 5 places"
                assert await third.said() == (None, "failure", why)
                assert await third.ended()
            async with control.greeted():
                pass
        await trio.testing.wait_all_tasks_blocked()
        async with control.greeted():
            pass


async def test_it_survives_a_lack_of_descriptors(
    control: Control, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    failures = [OSError(errno.EMFILE, "Too many open files")] * 3
    accept = trio.SocketListener.accept

    async def failing(listener: trio.SocketListener) -> trio.SocketStream:
        if failures:
            raise failures.pop()
        return await accept(listener)

    async with control.greeted():
        monkeypatch.setattr(trio.SocketListener, "accept", failing)
    async with control.greeted(), control.greeted():
        assert failures == []
    assert caplog.text.count("cannot accept: Too many open files") == 1


async def test_what_else_accept_raises_ends_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def failing(_listener: trio.SocketListener) -> trio.SocketStream:
        raise OSError(errno.EBADF, "Bad file descriptor")

    monkeypatch.setattr(trio.SocketListener, "accept", failing)
    with pytest.RaisesGroup(pytest.RaisesExc(OSError, match="Bad file"), flatten_subgroups=True):
        async with open_control(tmp_path):
            await trio.sleep_forever()


async def test_a_conversation_that_fails_takes_no_other_with_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_control(tmp_path) as control, control.greeted() as one:
        monkeypatch.setattr(Conversation, "_converse", lambda _self: (_ for _ in ()).throw(ValueError("a bug")))
        async with control.connect() as two:
            assert await two.ended()
        monkeypatch.undo()
        await one.send({"id": 1, "verb": "echo"})
        assert (await one.said())[1] == "ok"
    assert "a bug" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.ERROR]


async def test_soft_stop_answers_what_is_under_way(control: Control) -> None:
    async with control.greeted() as busy, control.greeted() as idle:
        await busy.send({"id": 1, "verb": "change wait"}, {"id": 2, "verb": "wait"})
        await trio.testing.wait_all_tasks_blocked()
        control.server.stop(10)
        assert await idle.ended()
        with pytest.raises(OSError, match="refused"):
            await trio.open_unix_socket(control.path)
        await busy.send({"id": 3, "verb": "echo"})
        control.answers.release[1].set()
        assert await busy.said() == (1, "ok", "waited")
        control.answers.release[2].set()
        assert await busy.said() == (2, "ok", "waited")
        assert await busy.ended()
    assert control.answers.begun == [1, 2]


async def test_soft_stop_ends_at_its_bound(control: Control) -> None:
    async with control.greeted() as client:
        await client.send({"id": 1, "verb": "change wait"})
        await trio.testing.wait_all_tasks_blocked()
        began = trio.current_time()
        control.server.stop(10)
        assert await client.ended()
        assert trio.current_time() - began == pytest.approx(10)


async def test_a_second_stop_may_be_less_patient(control: Control) -> None:
    async with control.greeted() as client:
        await client.send({"id": 1, "verb": "wait"})
        await trio.testing.wait_all_tasks_blocked()
        control.server.stop(1000)
        control.server.stop(0)
        began = trio.current_time()
        assert await client.ended()
        assert trio.current_time() == began


async def test_who_comes_in_the_moment_it_stops_is_let_out_again(
    control: Control, monkeypatch: pytest.MonkeyPatch
) -> None:
    accept = trio.SocketListener.accept

    async def accept_late(listener: trio.SocketListener) -> trio.SocketStream:
        stream = await accept(listener)
        control.server.stop(1000)
        return stream

    async with control.greeted():
        monkeypatch.setattr(trio.SocketListener, "accept", accept_late)
    async with control.greeted():
        pass
    began = trio.current_time()
    async with control.greeted() as late:
        assert await late.ended()
    assert trio.current_time() == began


async def test_soft_stop_begins_nothing_that_waits_for_its_turn(tmp_path: Path) -> None:
    async with open_control(tmp_path, limits=ControlLimits(requests=1)) as control, control.greeted() as client:
        await client.send(*({"id": number, "verb": "wait"} for number in range(3)))
        await trio.testing.wait_all_tasks_blocked()
        control.server.stop(10)
        control.answers.release[0].set()
        assert await client.said() == (0, "ok", "waited")
        assert [await client.said() for _ in range(2)] == [(number, "failure", LEFT_OUT) for number in (1, 2)]
        assert await client.ended()
    assert control.answers.begun == [0]


async def test_cancellation_ends_everything_at_once(tmp_path: Path) -> None:
    async with open_control(tmp_path) as control, control.greeted() as client:
        await client.send({"id": 1, "verb": "change wait"}, {"id": 2, "verb": "stream"})
        await trio.testing.wait_all_tasks_blocked()
        control.scope.cancel(reason="hard stop")
        lines: list[Any] = []
        while line := await client.line():
            lines.append(line)
    assert not any(b'"id":1' in line for line in lines)
