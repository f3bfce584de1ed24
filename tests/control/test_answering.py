"""What comes of a request whatever the one who answers does."""

import json
import logging
from typing import Any

import pytest
import trio

from sozu_trio.control.answering import INTERNAL, Answer, Answerer, Progress, answered
from sozu_trio.control.permissions import Peer
from sozu_trio.control.protocol import Request
from sozu_trio.errors import ChangeRefused, ConfigError, JournalError, NotConfirmed, OperatorError, Problem

pytestmark = pytest.mark.virtual_time

PEER = Peer(client_id=3, uid=0, gid=0, pid=9, process="ctl", may_change=True, connected=0)
REQUEST = Request(id="x", verb="apply")
HERE, THERE = Problem("changes[0].id", "missing"), Problem("changes[1].weight", "found -1; want 0 or more")


def many(count: int) -> tuple[Problem, ...]:
    return tuple(Problem(f"changes[{number}]", "found 1") for number in range(count))


def raising(error: BaseException) -> Answerer:
    async def answer(_peer: Peer, _request: Request, _progress: Progress) -> Answer:
        raise error

    return answer


def giving(answer: Answer) -> Answerer:
    async def give(peer: Peer, request: Request, _progress: Progress) -> Answer:
        assert (peer, request) == (PEER, REQUEST)
        return answer

    return give


async def nobody(_message: str, _content: Any) -> None:
    raise AssertionError("nothing is said on the way here")


async def reply_to(answer: Answerer) -> dict[str, Any]:
    line = await answered(answer, PEER, REQUEST, nobody)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    reply: dict[str, Any] = json.loads(line)
    assert (reply.pop("v"), reply.pop("id")) == (1, "x")
    return reply


def failure(message: str, *problems: Problem) -> dict[str, Any]:
    content = {"problems": [{"where": each.where, "what": each.what} for each in problems]} if problems else None
    return {"status": "failure", "message": message, "content": content}


@pytest.mark.parametrize(("ok", "status"), [(True, "ok"), (False, "failure")])
async def test_an_answer_is_the_reply(ok: bool, status: str) -> None:
    reply = await reply_to(giving(Answer("two\nlines", {"n": [1, None]}, ok=ok)))
    assert reply == {"status": status, "message": "two\nlines", "content": {"n": [1, None]}}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OperatorError("no"), failure("no")),
        (ChangeRefused((HERE, THERE)), failure(f"{HERE}\n{THERE}", HERE, THERE)),
        (ConfigError("a.toml", (HERE,)), failure(f"a.toml: {HERE}", HERE)),
        (JournalError("no space left"), failure("no space left")),
        (NotConfirmed("not yet", 9), {**failure("not yet"), "content": {"generation": 9, "in_force": True}}),
        (
            ExceptionGroup("", [ChangeRefused((HERE,)), NotConfirmed("not yet", 9)]),
            {
                "status": "failure",
                "message": f"{HERE}\nnot yet",
                "content": {"problems": [{"where": HERE.where, "what": HERE.what}], "generation": 9, "in_force": True},
            },
        ),
        (
            ExceptionGroup("", [ChangeRefused((HERE,)), ExceptionGroup("", [ChangeRefused((THERE,))])]),
            failure(f"{HERE}\n{THERE}", HERE, THERE),
        ),
        (OperatorError("half a character: \udcff"), failure("half a character: ?")),
        (ChangeRefused(many(20)), failure("\n".join(map(str, many(20))), *many(20))),
        (
            ConfigError("a.toml", many(21)),
            failure("a.toml: " + "\na.toml: ".join(map(str, many(20))) + "\nand 1 more", *many(21)),
        ),
        (
            ChangeRefused(many(400_000)),
            failure(
                "\n".join([*map(str, many(20)), "and 399,980 more"]),
                *many(1000),
                Problem("", "and 399,000 more"),
            ),
        ),
    ],
)
async def test_every_problem_the_operator_can_mend_is_named(
    error: Exception, expected: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    assert await reply_to(raising(error)) == expected
    assert caplog.records == []


@pytest.mark.parametrize(
    "answer",
    [
        raising(KeyError("secret")),
        raising(ExceptionGroup("", [ChangeRefused((HERE,)), ZeroDivisionError("secret")])),
        raising(trio.TooSlowError("secret")),
        giving(Answer("secret", float("nan"))),
        giving(Answer("secret", {"a": b"bytes"})),
        giving(Answer("secret", {"a": object()})),
    ],
)
async def test_our_own_mistakes_are_for_the_log(answer: Answerer, caplog: pytest.LogCaptureFixture) -> None:
    assert await reply_to(answer) == failure(INTERNAL)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "client 3 (uid 0, pid 9, ctl): request 'x', 'apply': internal error"
    assert record.exc_info


async def test_what_is_nested_beyond_reason_is_our_own_mistake(caplog: pytest.LogCaptureFixture) -> None:
    content: list[Any] = []
    for _ in range(100_000):
        content = [content]
    assert await reply_to(giving(Answer("deep", content))) == failure(INTERNAL)
    assert len(caplog.records) == 1
    while content:
        content = content[0]


@pytest.mark.parametrize(
    ("beside", "logged"),
    [([], 0), ([OperatorError("no")], 0), ([OperatorError("no"), KeyError("a"), ValueError("b")], 1)],
)
async def test_only_cancellation_passes(beside: list[Exception], logged: int, caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong while everything is being ended is no reason for anybody else to end."""

    async def fail(error: Exception) -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise error

    async def wait(_peer: Peer, _request: Request, _progress: Progress) -> Answer:
        async with trio.open_nursery() as nursery:
            for error in beside:
                nursery.start_soon(fail, error)
            await trio.sleep_forever()
        raise AssertionError("it was cancelled")

    with trio.move_on_after(1) as scope:
        await answered(wait, PEER, REQUEST, nobody)
    assert scope.cancelled_caught
    assert len(caplog.records) == logged


async def test_an_interrupt_passes() -> None:
    with pytest.raises(KeyboardInterrupt):
        await answered(raising(KeyboardInterrupt()), PEER, REQUEST, nobody)


async def test_progress_is_handed_on() -> None:
    said: list[tuple[str, Any]] = []

    async def say(message: str, content: Any) -> None:
        said.append((message, content))

    async def answer(_peer: Peer, _request: Request, progress: Progress) -> Answer:
        await progress("half", {"done": 1})
        return Answer("done")

    await answered(answer, PEER, REQUEST, say)
    assert said == [("half", {"done": 1})]
