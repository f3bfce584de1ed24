"""One client's requests and their replies: order, limits, patience, and what becomes of them when it goes."""

import json
import logging
import socket
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from sozu_trio.config.limits import ControlLimits
from sozu_trio.control import conversation
from sozu_trio.control.protocol import Request, read_request
from sozu_trio.errors import ConfigError, OperatorError, Problem
from tests.control.conversing import Control, RawClient, open_control

pytestmark = pytest.mark.virtual_time


@pytest.fixture
async def control(tmp_path: Path) -> AsyncIterator[Control]:
    async with open_control(tmp_path) as control:
        yield control


@pytest.fixture
async def client(control: Control) -> AsyncIterator[RawClient]:
    async with control.greeted() as client:
        yield client


# Requests and replies


async def test_a_request_and_its_reply(client: RawClient) -> None:
    await client.send({"id": "a", "verb": "echo", "body": {"x": ["ä", 1]}})
    assert await client.reply() == {
        "id": "a",
        "status": "ok",
        "message": "here you are",
        "content": {"x": ["ä", 1]},
    }


async def test_progress_comes_before_the_answer(client: RawClient) -> None:
    await client.send({"id": 1, "verb": "count", "body": {"to": 100}})
    for number in range(100):
        assert await client.reply() == {
            "id": 1,
            "status": "processing",
            "message": "counting",
            "content": {"number": number},
        }
    assert await client.said() == (1, "ok", "counted")


async def test_a_slow_query_holds_up_no_other(control: Control, client: RawClient) -> None:
    await client.send({"id": 1, "verb": "wait"}, {"id": 2, "verb": "echo"}, {"id": 3, "verb": "change"})
    assert {(await client.said())[0] for _ in range(2)} == {2, 3}
    control.answers.release[1].set()
    assert (await client.said())[0] == 1


async def test_changes_are_made_in_the_order_they_were_sent(control: Control, client: RawClient) -> None:
    await client.send({"id": 0, "verb": "change wait"}, *({"id": n, "verb": "change"} for n in range(1, 20)))
    await client.send({"id": "look", "verb": "echo"})
    assert (await client.said())[0] == "look"
    assert control.answers.begun == [0, "look"]
    control.answers.release[0].set()
    assert [(await client.said())[0] for _ in range(20)] == list(range(20))
    await client.send({"id": 20, "verb": "change"})
    assert (await client.said())[0] == 20


async def test_changes_of_different_clients_wait_not_for_one_another(control: Control, client: RawClient) -> None:
    await client.send({"id": 1, "verb": "change wait"})
    async with control.greeted() as other:
        await other.send({"id": 1, "verb": "change"})
        assert (await other.said())[1] == "ok"
    control.answers.release[1].set()
    assert (await client.said())[1] == "ok"


async def test_a_failure_of_the_answerer_is_one_of_the_request(client: RawClient) -> None:
    await client.send({"id": 1, "verb": "no"})
    assert await client.reply() == {
        "id": 1,
        "status": "failure",
        "message": "not this time",
        "content": {"why": "no"},
    }


WRONG = (Problem("changes[1].address", "found 'x'; want ip:port"), Problem("", "too bad"))


@pytest.mark.parametrize("verb", ["raise", "change raise"])
@pytest.mark.parametrize(
    ("error", "message", "problems"),
    [
        (OperatorError("no such cluster"), "no such cluster", ()),
        (ConfigError("a.toml", WRONG), "\n".join(f"a.toml: {problem}" for problem in WRONG), WRONG),
        (ExceptionGroup("", [ExceptionGroup("", [OperatorError("in use")])]), "in use", ()),
        (ExceptionGroup("", [OperatorError("a"), ConfigError("b", WRONG[1:])]), "a\nb: too bad", WRONG[1:]),
    ],
)
async def test_what_the_operator_did_wrong_is_told(
    control: Control, client: RawClient, verb: str, error: Exception, message: str, problems: tuple[Problem, ...]
) -> None:
    control.answers.raises = error
    await client.send({"id": 1, "verb": verb})
    reply = await client.reply()
    assert (reply["id"], reply["status"], reply["message"]) == (1, "failure", message)
    wanted = {"problems": [{"where": problem.where, "what": problem.what} for problem in problems]}
    assert reply["content"] == (wanted if problems else None)


@pytest.mark.parametrize("verb", ["raise", "change raise", "odd"])
async def test_what_we_did_wrong_stays_in_the_log(
    control: Control, client: RawClient, verb: str, caplog: pytest.LogCaptureFixture
) -> None:
    control.answers.raises = ExceptionGroup("", [OperatorError("x"), KeyError("secret")])
    await client.send({"id": 1, "verb": verb}, {"id": 2, "verb": "change"})
    assert sorted([await client.said(), await client.said()]) == [
        (1, "failure", "internal error: see the proxy's log"),
        (2, "ok", "here you are"),
    ]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info
    assert "client 1 (uid " in record.getMessage()
    assert f"request 1, {verb!r}" in record.getMessage()


async def test_a_large_request_leaves_the_loop_to_others(
    control: Control, client: RawClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[bool] = []

    def read(line: bytes) -> Request:
        threads.append(threading.current_thread() is not threading.main_thread())
        return read_request(line)

    monkeypatch.setattr(conversation, "read_request", read)
    large = {"x": "y" * 50_000}
    await client.send(
        {"id": 1, "verb": "echo"}, {"id": 2, "verb": "echo", "body": large}, {"id": 3, "verb": "x" * 60_000}
    )
    said = [await client.reply() for _ in range(3)]
    assert threads == [False, True, True]
    assert {reply["id"]: reply["content"] for reply in said[:2]} == {1: {}, 2: large}
    assert said[2]["message"].startswith("verb: found 'xxx")


async def test_who_does_not_read_has_nothing_more_made(tmp_path: Path) -> None:
    """Only what had begun already is finished."""
    limits = ControlLimits(reply_bytes=100)
    async with open_control(tmp_path, limits=limits) as control, control.greeted() as client:
        await client.send(*({"id": number, "verb": "large", "body": {"bytes": 2_000_000}} for number in range(8)))
        await trio.testing.wait_all_tasks_blocked()
        assert 1 <= len(control.answers.done) <= 2
        assert {(await client.reply())["id"] for _ in range(8)} == set(range(8))


async def test_a_reply_of_ten_megabytes(client: RawClient) -> None:
    await client.send({"id": 1, "verb": "large", "body": {"bytes": 10 << 20}})
    pieces: list[bytes] = []
    while not pieces or not pieces[-1].endswith(b"\n"):
        pieces.append(await client.stream.receive_some(1 << 20))
    assert json.loads(b"".join(pieces))["content"] == "x" * (10 << 20)


# What is no request


async def test_garbage_is_answered_and_the_next_request_too(client: RawClient) -> None:
    await client.send(b"garbage\n", b"\n", b"\xff\n", b"[" * 1000 + b"\n", {"id": 5, "verb": "echo", "bodi": {}})
    await client.send({"id": 6, "verb": "echo"})
    assert await client.said() == (None, "failure", "not JSON: Expecting value at character 1")
    assert await client.said() == (None, "failure", "an empty line; want a request, one JSON object per line")
    assert await client.said() == (None, "failure", "not UTF-8: byte 0xff at byte 1")
    assert (await client.said())[:2] == (None, "failure")
    assert await client.reply() == {
        "id": 5,
        "status": "failure",
        "message": "bodi: unknown member; did you mean 'body'?",
        "content": {"problems": [{"where": "bodi", "what": "unknown member; did you mean 'body'?"}]},
    }
    assert (await client.said())[:2] == (6, "ok")


async def test_garbage_comes_at_a_hundred_lines_a_second(client: RawClient) -> None:
    began = trio.current_time()
    await client.send(b"\n" * 1000)
    for _ in range(1000):
        assert (await client.said())[1] == "failure"
    assert trio.current_time() - began == pytest.approx(10, rel=0.01)


async def test_an_id_in_use_names_one_request_only(control: Control, client: RawClient) -> None:
    await client.send({"id": 7, "verb": "wait"}, {"id": 7, "verb": "echo"}, {"id": 7, "verb": 5})
    assert await client.said() == (None, "failure", "id: 7 is that of a request which is still under way")
    assert (await client.said())[:2] == (None, "failure")
    control.answers.release[7].set()
    assert await client.said() == (7, "ok", "waited")
    await client.send({"id": 7, "verb": "echo"})
    assert await client.said() == (7, "ok", "here you are")


async def test_a_line_that_is_too_long_is_skipped(tmp_path: Path) -> None:
    limits = ControlLimits(request=100)
    async with open_control(tmp_path, limits=limits) as control, control.connect() as client:
        assert (await client.reply())["content"]["max_request"] == 100
        await client.send(b"x" * 101)
        why = "a line of more than 100 bytes; the limit is max_command_buffer_size"
        assert await client.said() == (None, "failure", why)
        await client.send(b"x" * 1000, b"\n", {"id": 1, "verb": "echo"})
        assert (await client.said())[:2] == (1, "ok")


async def test_a_line_that_is_too_long_and_never_ends_ends_the_connection(tmp_path: Path) -> None:
    limits = ControlLimits(request=100, half_line=30)
    async with open_control(tmp_path, limits=limits) as control, control.greeted() as client:
        began = trio.current_time()
        await client.send(b"x" * 101)
        await client.said()
        for _ in range(5):
            await trio.sleep(5)
            await client.send(b"x" * 1000)
        assert await client.said() == (None, "failure", "cut short: a line was not complete 30 s after it began")
        assert await client.ended()
        assert trio.current_time() - began == pytest.approx(30, abs=0.1)


# Patience


async def test_half_a_line_and_the_end(client: RawClient) -> None:
    await client.send({"id": 1, "verb": "echo"}, b'{"v": 1')
    await client.stream.send_eof()
    assert sorted([await client.said(), await client.said()], key=str) == [
        (1, "ok", "here you are"),
        (None, "failure", "cut short: the last line has no line feed"),
    ]
    assert await client.ended()


async def test_half_a_line_and_silence(control: Control, client: RawClient) -> None:
    """Also while events are streamed: those end then. A change that runs is finished and answered."""
    await client.send({"id": 1, "verb": "wait"}, {"id": 2, "verb": "change wait"}, {"id": 3, "verb": "change"})
    await client.send(b'{"v": 1')
    began = trio.current_time()
    assert await client.said() == (None, "failure", "cut short: a line was not complete 30 s after it began")
    assert trio.current_time() - began == pytest.approx(30)
    control.answers.release[2].set()
    assert await client.said() == (2, "ok", "waited")
    assert await client.said() == (3, "ok", "here you are")
    assert await client.ended()


async def test_a_line_may_take_its_time_in_pieces(client: RawClient) -> None:
    for piece in (b'{"v": 1, "id": 1,', b' "verb": "echo"}\n{"v": 1', b', "id": 2, "verb": "echo"}\n'):
        await trio.sleep(20)
        await client.send(piece)
    assert (await client.said())[:2] == (1, "ok")
    assert (await client.said())[:2] == (2, "ok")


async def test_idle(client: RawClient) -> None:
    await trio.sleep(599)
    await client.send({"id": 1, "verb": "echo"})
    await client.said()
    began = trio.current_time()
    assert await client.said() == (None, "failure", "idle: no request for 600 s")
    assert trio.current_time() - began == pytest.approx(600)
    assert await client.ended()


@pytest.mark.parametrize("verb", ["wait", "change wait"])
async def test_waiting_for_an_answer_is_not_idle(control: Control, client: RawClient, verb: str) -> None:
    await client.send({"id": 1, "verb": verb})
    await trio.sleep(5000)
    control.answers.release[1].set()
    began = trio.current_time()
    assert (await client.said())[:2] == (1, "ok")
    assert await client.said() == (None, "failure", "idle: no request for 600 s")
    assert trio.current_time() - began == pytest.approx(600)


async def test_who_never_reads_is_dropped(
    control: Control, client: RawClient, caplog: pytest.LogCaptureFixture
) -> None:
    await client.send({"id": 1, "verb": "stream"})
    await trio.testing.wait_all_tasks_blocked()
    assert control.server.clients == 1
    await trio.sleep(29)
    assert control.server.clients == 1
    await trio.sleep(2)
    assert control.server.clients == 0
    assert "has not read its replies for 30 s: dropped" in caplog.text


async def test_who_reads_slowly_is_kept(control: Control, client: RawClient) -> None:
    await client.send({"id": 1, "verb": "stream"})
    for _ in range(100):
        await trio.sleep(20)
        await client.stream.receive_some(65536)
    assert control.server.clients == 1


async def test_progress_of_a_change_waits_for_no_reader(control: Control, client: RawClient) -> None:
    await client.send({"id": 1, "verb": "stream"})
    await trio.testing.wait_all_tasks_blocked()
    began = trio.current_time()
    await client.send({"id": 2, "verb": "change count", "body": {"to": 1000}})
    await trio.testing.wait_all_tasks_blocked()
    assert control.answers.done == [2]
    assert trio.current_time() == began


async def test_with_many_requests_under_way_no_further_one_is_read(tmp_path: Path) -> None:
    limits = ControlLimits(requests=3)
    async with open_control(tmp_path, limits=limits) as control, control.greeted() as client:
        await client.send(*({"id": n, "verb": "wait"} for n in range(5)))
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(control.answers.begun, key=int) == [0, 1, 2]
        control.answers.release[1].set()
        assert (await client.said())[0] == 1
        await trio.testing.wait_all_tasks_blocked()
        assert sorted(control.answers.begun, key=int) == [0, 1, 2, 3]


# The end


async def test_who_only_stops_sending_gets_everything(control: Control, client: RawClient) -> None:
    await client.send({"id": 1, "verb": "wait"}, {"id": 2, "verb": "change"}, {"id": 3, "verb": "change"})
    await client.stream.send_eof()
    assert [(await client.said())[0] for _ in range(2)] == [2, 3]
    await trio.testing.wait_all_tasks_blocked()
    control.answers.release[1].set()
    assert (await client.said())[0] == 1
    assert await client.ended()


async def test_a_change_that_runs_is_finished_though_its_client_has_gone(control: Control) -> None:
    async with control.greeted() as client:
        await client.send({"id": 1, "verb": "change wait"}, {"id": 2, "verb": "change"}, {"id": 3, "verb": "wait"})
        await trio.testing.wait_all_tasks_blocked()
        assert set(control.answers.begun) == {1, 3}
    await trio.testing.wait_all_tasks_blocked()
    assert control.server.clients == 0
    control.answers.release[3].set()
    control.answers.release[1].set()
    await trio.testing.wait_all_tasks_blocked()
    assert control.answers.done == [1]
    assert set(control.answers.begun) == {1, 3}


@pytest.mark.parametrize("requests", [1, 2])
async def test_going_is_noticed_while_nothing_is_read(tmp_path: Path, requests: int) -> None:
    limits = ControlLimits(requests=requests)
    async with open_control(tmp_path, limits=limits) as control:
        async with control.greeted() as client:
            await client.send(*({"id": n, "verb": "wait"} for n in range(3)))
            await client.stream.send_eof()
            await trio.testing.wait_all_tasks_blocked()
            assert control.server.clients == 1
        await trio.testing.wait_all_tasks_blocked()
        assert control.server.clients == 0


async def test_going_with_replies_unread_is_going(control: Control, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(control.path))
        sock.sendall(b"".join(b'{"v":1,"id":%d,"verb":"stream"}\n' % n for n in range(3)))
        await trio.testing.wait_all_tasks_blocked()
        assert control.server.clients == 1
    await trio.testing.wait_all_tasks_blocked()
    assert control.server.clients == 0
    assert caplog.records == []


async def test_a_stop_while_a_client_does_not_read(control: Control, client: RawClient) -> None:
    await client.send(
        {"id": 1, "verb": "stream"}, *({"id": n, "verb": "large", "body": {"bytes": 9}} for n in range(2, 90))
    )
    await trio.testing.wait_all_tasks_blocked()
    control.server.stop(5)
    await trio.sleep(4)
    assert control.server.clients == 1
    await trio.sleep(2)
    assert control.server.clients == 0
