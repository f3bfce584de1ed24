"""The client library against the real server and against proxies that misbehave, on Trio and on asyncio."""

import contextlib
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio

from sozu_trio.control import client as client_module
from sozu_trio.control.client import Client, open_client
from sozu_trio.control.protocol import Reply
from sozu_trio.errors import ConnectionLost, ControlError, RequestFailed
from tests.control.conversing import Control, open_control

PATIENCE = 20
"""Seconds any of these tests may take."""
HELLO = b'{"v":1,"id":null,"status":"ok","message":"hello","content":{"protocol":1}}\n'


@pytest.fixture(params=["trio", "asyncio"])
def run(request: pytest.FixtureRequest) -> Callable[[Callable[[], Awaitable[None]]], None]:
    """Runs an async function on one of the two."""

    def run_on_it(test: Callable[[], Awaitable[None]]) -> None:
        async def bounded() -> None:
            with anyio.fail_after(PATIENCE):
                await test()

        anyio.run(bounded, backend=request.param)

    return run_on_it


Run = Callable[[Callable[[], Awaitable[None]]], None]


class Served:
    """A server in another thread."""

    def __init__(self, control: Control, token: trio.lowlevel.TrioToken) -> None:
        self.path = control.path
        self.answers = control.answers
        self._control = control
        self._token = token

    def release(self, number: int) -> None:
        self._token.run_sync_soon(self.answers.release[number].set)

    def cancel(self) -> None:
        self._token.run_sync_soon(lambda: self._control.scope.cancel(reason="the test is over"))


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    ready = threading.Event()
    servers: list[Served] = []

    async def serve() -> None:
        async with open_control(tmp_path) as control:
            servers.append(Served(control, trio.lowlevel.current_trio_token()))
            ready.set()
            await trio.sleep_forever()

    thread = threading.Thread(target=trio.run, args=(serve,))
    thread.start()
    assert ready.wait(PATIENCE)
    yield servers[0]
    with contextlib.suppress(trio.RunFinishedError):
        servers[0].cancel()
    thread.join()


@contextlib.contextmanager
def saying(path: Path, *pieces: bytes) -> Iterator[None]:
    """A proxy that says the first piece, each further one after it was asked something, and hangs up."""

    def serve() -> None:
        sock, _ = listening.accept()
        with sock:
            for number, piece in enumerate(pieces):
                if number and not sock.recv(65536):
                    break
                sock.sendall(piece)

    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        thread = threading.Thread(target=serve)
        thread.start()
        yield
        thread.join()


def test_ask(run: Run, served: Served) -> None:
    async def test() -> None:
        async with open_client(served.path) as client:
            assert (client.hello["protocol"], client.hello["pid"], client.hello["role"]) == (1, os.getpid(), "full")
            reply = await client.ask("echo", {"x": ["ä", 1]})
            assert (reply.message, reply.content) == ("here you are", {"x": ["ä", 1]})
            assert (await client.ask("hello")).content == client.hello

    run(test)


def test_asks_are_pipelined(run: Run, served: Served) -> None:
    async def test() -> None:
        contents: dict[int, Any] = {}

        async def ask(client: Client, number: int) -> None:
            contents[number] = (await client.ask("echo", {"number": number})).content

        async with open_client(served.path) as client:
            async with anyio.create_task_group() as tasks:
                for number in range(300):
                    tasks.start_soon(ask, client, number)
            assert contents == {number: {"number": number} for number in range(300)}

    run(test)


def test_progress(run: Run, served: Served) -> None:
    async def test() -> None:
        seen: list[Reply] = []
        async with open_client(served.path) as client:
            assert (await client.ask("count", {"to": 500}, seen.append)).message == "counted"
            assert (await client.ask("count", {"to": 5})).message == "counted"
        assert [(reply.message, reply.content) for reply in seen] == [("counting", {"number": n}) for n in range(500)]

    run(test)


def test_failures_come_out_as_they_are(run: Run, served: Served) -> None:
    async def test() -> None:
        with pytest.raises(RequestFailed, match="not this time") as failed:
            async with open_client(served.path) as client:
                await client.ask("no")
        assert failed.value.message == "not this time"
        assert failed.value.content == {"why": "no"}

    run(test)


def test_after_a_failure_the_connection_is_good(run: Run, served: Served) -> None:
    async def test() -> None:
        async with open_client(served.path) as client:
            for _ in range(3):
                with pytest.raises(RequestFailed):
                    await client.ask("no")
            with pytest.raises(TypeError):
                await client.ask("echo", {"odd": {1}})
            assert (await client.ask("echo")).content == {}

    run(test)


def test_a_cancelled_ask_is_forgotten(run: Run, served: Served) -> None:
    async def test() -> None:
        async with open_client(served.path) as client:
            with pytest.raises(TimeoutError), anyio.fail_after(0.05):
                await client.ask("wait")
            served.release(1)
            for number in range(3):
                assert (await client.ask("echo", {"number": number})).content == {"number": number}

    run(test)


def test_events(run: Run, served: Served) -> None:
    """One who stops listening to them can still ask."""
    served.answers.verbs["events"] = served.answers.verbs["count"]

    async def test() -> None:
        async with open_client(served.path) as client:
            numbers = [event["number"] async for event in client.events({"to": 100})]
            assert numbers == list(range(100))
            async for event in client.events({"to": 100}):
                assert event == {"number": 0}
                break
            assert (await client.ask("echo")).content == {}

    run(test)


def test_events_that_nobody_takes_are_not_kept_without_end(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client_module, "MOST_WAITING", 20)
    event = b'{"v":1,"id":1,"status":"processing","message":"","content":{"kind":"TICK"}}\n'
    answer = b'{"v":1,"id":2,"status":"ok","message":"still there","content":null}\n'

    async def test() -> None:
        async with open_client(tmp_path / "sock") as client:
            events = client.events()
            assert await anext(events) == {"kind": "TICK"}
            assert (await client.ask("status")).message == "still there"
            with pytest.raises(ConnectionLost, match="20 replies to this request wait to be taken"):
                [event async for event in events]

    with saying(tmp_path / "sock", HELLO, event * 100, answer):
        run(test)


def test_a_reply_of_ten_megabytes(run: Run, served: Served) -> None:
    async def test() -> None:
        async with open_client(served.path) as client:
            assert (await client.ask("large", {"bytes": 10 << 20})).content == "x" * (10 << 20)

    run(test)


def test_a_request_that_is_too_large_is_not_sent(run: Run, served: Served) -> None:
    async def test() -> None:
        async with open_client(served.path) as client:
            around = len(b'{"v":1,"id":1,"verb":"echo","body":{"x":""}}')
            text = "x" * (2_000_000 - around)
            assert (await client.ask("echo", {"x": text})).content == {"x": text}
            with pytest.raises(RequestFailed, match="a request of 2000001 bytes; the proxy takes 2000000"):
                await client.ask("echo", {"x": text + "x"})
            assert (await client.ask("echo")).content == {}

    run(test)


def test_a_proxy_that_goes_away(run: Run, served: Served) -> None:
    async def test() -> None:
        async with open_client(served.path) as client:
            async with anyio.create_task_group() as tasks:

                async def ask(verb: str) -> None:
                    with pytest.raises(ConnectionLost, match="the proxy closed the connection"):
                        await client.ask(verb)

                tasks.start_soon(ask, "wait")
                tasks.start_soon(ask, "change wait")
                await client.ask("echo")
                served.cancel()
            await ask("echo")

    run(test)


def test_nobody_is_there(run: Run, tmp_path: Path) -> None:
    async def test() -> None:
        for path, why in (
            (tmp_path / "missing", "(is it running? its key command_socket says where)"),
            (tmp_path / "stale", "any more (if main has died its workers serve on: start it again)"),
        ):
            with pytest.raises(ControlError) as error:
                async with open_client(path):
                    pass
            assert str(error.value) == f"no proxy listens at {path} {why}"
        with pytest.raises(ControlError, match=r"cannot connect to x+: AF_UNIX path too long"):
            async with open_client("x" * 200):
                pass

    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(tmp_path / "stale"))
    run(test)


def test_permission_denied(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Root may connect everywhere, so the kernel's answer is made up here."""

    async def denied(_path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    async def test() -> None:
        with pytest.raises(ControlError, match=r"permission denied at .*sock: the socket is its owner's, and you are"):
            async with open_client(tmp_path / "sock"):
                pass

    monkeypatch.setattr(anyio, "connect_unix", denied)
    run(test)


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (b"", "whoever listens at .* closed the connection without a word"),
        (HELLO[:-1], "whoever listens at .* closed the connection without a word"),
        (b"SSH-2.0-OpenSSH\n", "does not speak our protocol: not a reply: not JSON"),
        (HELLO.replace(b'"v":1', b'"v":2'), "does not speak our protocol: not a reply: v: found 2; want 1"),
        (HELLO.replace(b'"protocol":1', b'"protocol":2'), "speaks version 2 of the protocol, and we version 1"),
        (HELLO.replace(b'{"protocol":1}', b"null"), "speaks version None of the protocol"),
    ],
)
def test_a_proxy_of_another_kind(run: Run, tmp_path: Path, first: bytes, why: str) -> None:
    async def test() -> None:
        with pytest.raises(ControlError, match=why):
            async with open_client(tmp_path / "sock"):
                pass

    with saying(tmp_path / "sock", first):
        run(test)


def test_turned_away(run: Run, tmp_path: Path) -> None:
    async def test() -> None:
        with pytest.raises(RequestFailed, match="unauthorized: uid 5"):
            async with open_client(tmp_path / "sock"):
                pass

    line = b'{"v":1,"id":null,"status":"failure","message":"unauthorized: uid 5","content":null}\n'
    with saying(tmp_path / "sock", line):
        run(test)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "the proxy closed the connection"),
        (b'{"v":1,', "the proxy closed the connection"),
        (b"garbage\n", "not a reply: not JSON"),
        (
            b'{"v":1,"id":null,"status":"failure","message":"idle: no request for 600 s","content":null}\n',
            "the proxy gave the connection up: idle: no request for 600 s",
        ),
    ],
)
def test_the_end_of_a_connection_is_told_to_who_waits(run: Run, tmp_path: Path, answer: bytes, why: str) -> None:
    async def test() -> None:
        async with open_client(tmp_path / "sock") as client:
            for _ in range(2):
                with pytest.raises(ConnectionLost, match=why):
                    await client.ask("status")
            with pytest.raises(ConnectionLost, match=why):
                await anext(client.events())

    with saying(tmp_path / "sock", HELLO, answer):
        run(test)


def test_replies_to_nobody_are_dropped(run: Run, tmp_path: Path) -> None:
    reply = b'{"v":1,"id":%s,"status":"ok","message":"%s","content":null}\n'

    async def test() -> None:
        async with open_client(tmp_path / "sock") as client:
            assert (await client.ask("status")).message == "ours"

    with saying(
        tmp_path / "sock", HELLO + reply % (b"9", b"early"), reply % (b'"1"', b"theirs") + reply % (b"1", b"ours")
    ):
        run(test)


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_the_body_raises_comes_out_in_no_group(run: Run, served: Served, error: type[BaseException]) -> None:
    async def fail() -> None:
        async with open_client(served.path) as client:
            await client.ask("echo")
            raise error("body")

    async def test() -> None:
        with pytest.raises(error, match="body"):
            await fail()

    run(test)


def test_cancelling_around_it(run: Run, served: Served) -> None:
    async def test() -> None:
        with anyio.move_on_after(0.05) as scope:
            async with open_client(served.path) as client:
                await client.ask("wait")
        assert scope.cancelled_caught

    run(test)
