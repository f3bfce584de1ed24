"""One request in virtual time: how long silence may last, and what is said about what may have happened."""

import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from sozu_trio.cli.asking import Asking
from sozu_trio.cli.ctl_verbs import Verb
from sozu_trio.control.protocol import Reply
from sozu_trio.errors import OperatorError, RequestFailed
from tests.cli.scripted import HELLO

pytestmark = pytest.mark.virtual_time

CHANGE = Verb(words="backend add", help="", example="", trace="history")
LOOK = Verb(words="status", help="", example="")
Say = Callable[..., Awaitable[None]]


@asynccontextmanager
async def proxy(path: Path, answer: Callable[[Say], Awaitable[None]]) -> AsyncIterator[None]:
    """Greets, waits for one request and lets `answer` say replies."""

    async def serve(stream: trio.abc.Stream) -> None:
        await stream.send_all(json.dumps(HELLO).encode() + b"\n")
        request = json.loads(await stream.receive_some())

        async def say(status: str, message: str = "", content: Any = None) -> None:
            reply = {"v": 1, "id": request["id"], "status": status, "message": message, "content": content}
            await stream.send_all(json.dumps(reply).encode() + b"\n")

        await answer(say)
        await stream.aclose()

    # Trio would bind in a thread, and virtual time does not wait for threads.
    bound = socket.socket(socket.AF_UNIX)
    bound.bind(str(path))
    bound.listen()
    listener = trio.SocketListener(trio.socket.from_stdlib_socket(bound))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield
        nursery.cancel_scope.cancel(reason="the test is over")


async def test_each_word_starts_the_limit_anew(tmp_path: Path) -> None:
    async def answer(say: Say) -> None:
        for left in (2, 1):
            await trio.sleep(29)
            await say("processing", f"{left} left", {"sessions": left})
        await trio.sleep(29)
        await say("ok", "stopped", {"cut": 0})

    heard: list[Reply] = []
    async with proxy(tmp_path / "a", answer):
        reply = await Asking(tmp_path / "a", 30, LOOK).ask({}, heard.append)
    assert ([each.message for each in heard], reply.content) == (["2 left", "1 left"], {"cut": 0})


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (CHANGE, "no answer within 30 s: the change may still be carried out; look at `ctl history`"),
        (LOOK, "no answer within 30 s"),
    ],
)
async def test_silence(tmp_path: Path, verb: Verb, said: str) -> None:
    async def answer(_: Say) -> None:
        await trio.sleep_forever()

    async with proxy(tmp_path / "a", answer):
        begun = trio.current_time()
        with pytest.raises(OperatorError) as error:
            await Asking(tmp_path / "a", 30, verb).ask({}, lambda _: None)
    assert (str(error.value), trio.current_time() - begun) == (said, 30)


async def test_without_a_limit(tmp_path: Path) -> None:
    async def answer(say: Say) -> None:
        await trio.sleep(10_000)
        await say("ok")

    async with proxy(tmp_path / "a", answer):
        assert (await Asking(tmp_path / "a", None, LOOK).ask({}, lambda _: None)).status == "ok"


async def test_a_refusal_is_no_doubt(tmp_path: Path) -> None:
    async with proxy(tmp_path / "a", lambda say: say("failure", "no")):
        with pytest.raises(RequestFailed, match="no"):
            await Asking(tmp_path / "a", 30, CHANGE).ask({}, lambda _: None)


async def test_nobody_is_there(tmp_path: Path) -> None:
    asking = Asking(tmp_path / "a", 30, CHANGE)
    with pytest.raises(OperatorError, match="no proxy listens"):
        await asking.ask({}, lambda _: None)
    assert asking.doubt() == ""
