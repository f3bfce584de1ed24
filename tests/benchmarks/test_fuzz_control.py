"""The fuzzer against our server in this process, and against proxies that misbehave: it must notice."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio

from benchmarks import fuzz_control
from benchmarks.fuzz_beside import BODY, Unsound, send_traffic, serve_backend
from benchmarks.fuzz_control import Figures, fuzz, proxy, show
from tests.control.conversing import open_control

HELLO = b'{"v":1,"id":null,"status":"ok","message":"hello","content":{"pid":%d}}\n' % os.getpid()
REFUSED = b'{"v":1,"id":null,"status":"failure","message":"no","content":null}\n'


@asynccontextmanager
async def saying(path: Path, answer: Callable[[bytes], bytes]) -> AsyncIterator[None]:
    """A proxy that says hello, and then `answer` to each piece it reads."""

    async def handle(stream: trio.SocketStream) -> None:
        try:
            await stream.send_all(HELLO)
            async for data in stream:
                await stream.send_all(answer(bytes(data)))
        except trio.BrokenResourceError:
            return

    sock = trio.socket.socket(trio.socket.AF_UNIX)
    await sock.bind(str(path))
    sock.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, handle, [trio.SocketListener(sock)])
        yield
        nursery.cancel_scope.cancel(reason="the test is over")


async def test_our_server_is_sound(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fuzz_control, "CLIENTS", 3)
    # What is wrong with those, verbs find out, and the ones here are not real.
    monkeypatch.setattr(fuzz_control, "LARGE_FIRST", 0)
    monkeypatch.setattr(fuzz_control, "LARGE_LATER", 0)
    figures = Figures()
    async with open_control(tmp_path) as control:
        control.answers.verbs["x"] = control.answers.verbs["no"]
        await fuzz(control.path, None, 1, 0.6, figures)
    assert figures.conversations > 0
    assert figures.lines > 40
    assert figures.replies["failure"] > 10
    assert figures.replies["ok"] > 5
    assert figures.rss
    show(figures)
    assert f"{figures.lines:,} lines" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda _: b"garbage\n", "not a reply"),
        (lambda _: REFUSED.replace(b"failure", b"ok"), "a success, though nothing of this id could succeed"),
        (lambda _: REFUSED[:-1], "cut short|not a reply"),
        (lambda data: REFUSED * (data.count(b"\n") - 1), "lines got"),
        (lambda data: REFUSED * (data.count(b"\n") + 50), "lines got"),
    ],
)
async def test_a_proxy_that_misbehaves_is_found_out(tmp_path: Path, answer: Callable[[bytes], bytes], why: str) -> None:
    with pytest.RaisesGroup(pytest.RaisesExc(Unsound, match=why), flatten_subgroups=True):
        async with saying(tmp_path / "sock", answer):
            await fuzz_control.converse_until(trio.current_time() + 5, tmp_path / "sock", "1", Figures())


async def serve_once(handle: Callable[[trio.SocketStream], Awaitable[None]], nursery: trio.Nursery) -> int:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    nursery.start_soon(trio.serve_listeners, handle, [listener])
    port: int = listener.socket.getsockname()[1]
    return port


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 503 Service Unavailable\r\n\r\n"])
async def test_traffic_that_suffers_is_noticed(answer: bytes) -> None:
    right = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n" + BODY
    answers = [right, right, answer]

    async def handle(stream: trio.SocketStream) -> None:
        for each in answers:
            await stream.receive_some()
            await stream.send_all(each)

    figures = Figures()
    async with trio.open_nursery() as nursery:
        port = await serve_once(handle, nursery)
        with pytest.raises(Unsound, match="the traffic was answered"):
            await send_traffic(partial(trio.open_tcp_stream, "127.0.0.1", port), figures)
        nursery.cancel_scope.cancel(reason="the test is over")
    assert figures.requests == 2


def test_a_real_proxy_is_started_and_ended() -> None:
    with proxy() as (path, ports):
        assert path.parent.is_dir()
        trio.run(ask_once, ports)
    assert not path.parent.exists()


async def ask_once(ports: tuple[int, int]) -> None:
    figures = Figures()
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_backend, ports[1])
        with trio.move_on_after(0.2):
            await send_traffic(partial(trio.open_tcp_stream, "127.0.0.1", ports[0]), figures)
        nursery.cancel_scope.cancel(reason="enough")
    assert figures.requests > 0
