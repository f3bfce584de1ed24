"""A control server in the test's own process, with an answerer the test commands, and clients whose every byte it
writes.
"""

import json
import os
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from sozu_trio.config.limits import ControlLimits
from sozu_trio.control.answering import Answer, Progress
from sozu_trio.control.endpoint import open_control_socket
from sozu_trio.control.permissions import Peer, Permissions
from sozu_trio.control.protocol import Request
from sozu_trio.control.server import ControlServer, serve_control


def hello(_peer: Peer) -> Mapping[str, Any]:
    return {"version": "0.1.0", "pid": os.getpid(), "generation": 7}


class Answers:
    """Answers by verb, one word each; `change …` verbs change something.

    Anything else is answered with its own body.
    """

    def __init__(self) -> None:
        self.begun: list[str | int] = []
        self.done: list[str | int] = []
        """Ids of requests, in the order they began and were carried out."""
        self.release: dict[str | int, trio.Event] = defaultdict(trio.Event)
        """`wait` and `change wait` go on when the event of their id is set."""
        self.raises: Exception | None = None
        self.peers: list[Peer] = []
        self.verbs: dict[str, Callable[[Request, Progress], Awaitable[Answer]]] = {
            "wait": self._wait,
            "raise": self._raise,
            "count": self._count,
            "stream": self._stream,
            "large": self._large,
            "odd": self._odd,
            "no": self._no,
        }

    async def __call__(self, peer: Peer, request: Request, progress: Progress) -> Answer:
        self.peers.append(peer)
        self.begun.append(request.id)
        answer = self.verbs.get(request.verb.removeprefix("change "), self._echo)
        answered = await answer(request, progress)
        self.done.append(request.id)
        return answered

    async def _echo(self, request: Request, _progress: Progress) -> Answer:
        return Answer("here you are", dict(request.body))

    async def _wait(self, request: Request, _progress: Progress) -> Answer:
        await self.release[request.id].wait()
        return Answer("waited")

    async def _raise(self, _request: Request, _progress: Progress) -> Answer:
        assert self.raises is not None
        raise self.raises

    async def _count(self, request: Request, progress: Progress) -> Answer:
        for number in range(request.body["to"]):
            await progress("counting", {"number": number})
        return Answer("counted")

    async def _stream(self, _request: Request, progress: Progress) -> Answer:
        while True:
            await progress("", {"kind": "TICK", "filling": "x" * 1000})

    async def _large(self, request: Request, _progress: Progress) -> Answer:
        return Answer("large", "x" * request.body["bytes"])

    async def _odd(self, _request: Request, _progress: Progress) -> Answer:
        return Answer("odd", {1, 2})

    async def _no(self, _request: Request, _progress: Progress) -> Answer:
        return Answer("not this time", {"why": "no"}, ok=False)


class RawClient:
    """One that speaks for itself, right or wrong."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._received = b""

    async def send(self, *lines: bytes | Mapping[str, Any]) -> None:
        """Bytes as they are, mappings as requests: members that are missing are added."""
        await self.stream.send_all(b"".join(map(line_of, lines)))

    async def line(self) -> bytes:
        """The next line, empty at the end."""
        while b"\n" not in self._received:
            try:
                data = await self.stream.receive_some(65536)
            except trio.BrokenResourceError:
                data = b""
            if not data:
                assert self._received == b""
                return b""
            self._received += data
        line, _, self._received = self._received.partition(b"\n")
        return line

    async def reply(self) -> dict[str, Any]:
        """The next reply without its version."""
        document: dict[str, Any] = json.loads(await self.line())
        assert document.pop("v") == 1
        assert document.keys() == {"id", "status", "message", "content"}
        return document

    async def said(self) -> tuple[Any, str, str]:
        """(id, status, message) of the next reply."""
        reply = await self.reply()
        return reply["id"], reply["status"], reply["message"]

    async def ended(self) -> bool:
        """Whether the server has said everything and closed."""
        return await self.line() == b""


def line_of(request: bytes | Mapping[str, Any]) -> bytes:
    if isinstance(request, bytes):
        return request
    return json.dumps({"v": 1, **request}).encode() + b"\n"


class Control:
    """A running server and the way to it."""

    def __init__(self, path: Path, answers: Answers, server: ControlServer, scope: trio.CancelScope) -> None:
        self.path = path
        self.answers = answers
        self.server = server
        self.scope = scope

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[RawClient]:
        """A client, not greeted yet."""
        async with await trio.open_unix_socket(self.path) as stream:
            yield RawClient(stream)

    @asynccontextmanager
    async def greeted(self) -> AsyncIterator[RawClient]:
        async with self.connect() as client:
            assert (await client.reply())["message"] == "hello"
            yield client


@asynccontextmanager
async def open_control(
    folder: Path,
    permissions: Permissions = Permissions(),  # noqa: B008 - it is frozen
    limits: ControlLimits = ControlLimits(),  # noqa: B008 - it is frozen
) -> AsyncIterator[Control]:
    """A server until the body ends."""
    path, answers = folder / "sock", Answers()
    with open_control_socket(path) as sock:
        listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        async with trio.open_nursery() as nursery:

            async def serve(*, task_status: trio.TaskStatus[ControlServer]) -> None:
                await serve_control(
                    listener,
                    answers,
                    hello,
                    changes_state=lambda verb: verb.startswith("change"),
                    permissions=permissions,
                    limits=limits,
                    task_status=task_status,
                )

            server = await nursery.start(serve)
            yield Control(path, answers, server, nursery.cancel_scope)
            nursery.cancel_scope.cancel(reason="the test is over")
