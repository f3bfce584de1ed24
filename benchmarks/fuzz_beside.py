"""What goes on beside a fuzzer, whatever it sends: a proxy, a backend, traffic that must not suffer, a look at memory.

`Beside` keeps what has been seen, and `problems` says what of it must not be.
"""

import argparse
import math
import sys
import traceback
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import trio

from benchmarks.failures import leaves
from benchmarks.processes import PAGE, Process, ProcessTrouble, family, says

PATIENCE = 60
"""Seconds a conversation, or one request of the traffic, may take."""
WARM_UP = 0.25
"""Part of the time after which memory should have become what it will be."""
ALLOWED_GROWTH = 16 << 20
"""Bytes from then on."""
SLOWEST = 1.0
"""Seconds that a request of the traffic may take on a machine where everything here runs at once."""
HOST = "traffic.example"
REQUEST = b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % HOST.encode()
BODY = b"untouched\n"

Open = Callable[[], Awaitable[trio.abc.Stream]]
"""Opens a connection to the proxy."""


class Unsound(Exception):
    """The proxy said or did what it must not."""


FAILURES = (Unsound, ProcessTrouble, OSError, trio.BrokenResourceError, trio.TooSlowError)


@dataclass
class Beside:
    """What has been seen of the traffic and of the memory."""

    requests: int = 0
    """Of the traffic."""
    slowest: float = 0
    """Seconds for one of them."""
    rss: list[int] = field(default_factory=list)
    """Bytes, from when the proxy had warmed up."""


def seconds(text: str) -> float:
    if not 0 < (number := float(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def problems(seen: Beside) -> Iterator[str]:
    """What is wrong with it."""
    yield from growth(seen)
    yield from delay(seen)


def failures_of(body: Callable[[], object]) -> Iterator[str]:
    """What of FAILURES `body` raises, alone or in groups, and in which function of ours."""
    try:
        body()
    except FAILURES as error:
        yield told(error)
    except BaseExceptionGroup as group:
        failures, others = group.split(FAILURES)
        if failures is None or others is not None:
            raise
        yield from map(told, leaves(failures))


def told(error: BaseException) -> str:
    ours = [frame.name for frame in traceback.extract_tb(error.__traceback__) if "/benchmarks/" in frame.filename]
    return f"{error!r} in {' > '.join(ours)}" if ours else repr(error)


@contextmanager
def serving(configuration: str, folder: Path) -> Iterator[Process]:
    """A real proxy while the body runs. Raises ProcessTrouble when it does not live, or does not end well."""
    file = folder / "config.toml"
    file.write_text(configuration)
    with Process([sys.executable, "-m", "sozu_trio", "serve", "-c", str(file)], folder, name="sozu_trio") as process:
        process.wait_until(says("sozu_trio ready"))
        yield process
        if process.exit_code is not None:
            raise process.trouble(f"died with exit code {process.exit_code}")
        if code := process.end():
            raise process.trouble(f"ended with exit code {code}")


def growth(seen: Beside) -> Iterator[str]:
    first, last = halves(seen.rss)
    if last - first > ALLOWED_GROWTH:
        yield f"the proxy's memory has grown by more than {ALLOWED_GROWTH >> 20} MiB"


def halves(rss: Sequence[int]) -> tuple[int, int]:
    """What memory fell back to in either half of the time: a large request takes some for as long as it is read."""
    middle = len(rss) // 2
    return min(rss[:middle], default=0), min(rss[middle:], default=0)


def delay(seen: Beside) -> Iterator[str]:
    if seen.slowest > SLOWEST:
        yield f"a request of the traffic took more than {SLOWEST:g} s"


def show(seen: Beside) -> None:
    if seen.requests:
        print(f"traffic: {seen.requests:,} requests, all answered, the slowest in {seen.slowest * 1000:.0f} ms")
    if seen.rss:
        first, last = (size / 2**20 for size in halves(seen.rss))
        most = max(seen.rss) / 2**20
        print(f"memory of the proxy: {first:.1f} MiB warmed up, {last:.1f} MiB later, {most:.1f} MiB at most")


async def watch_memory(pid: int, length: float, seen: Beside) -> NoReturn:
    await trio.sleep(WARM_UP * length)
    while True:
        seen.rss.append(PAGE * sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in family(pid)))
        await trio.sleep(length / 50)


async def serve_backend(port: int, *, task_status: trio.TaskStatus[Any]) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        received = b""
        async for data in stream:
            received += data
            while b"\r\n\r\n" in received:
                received = received.partition(b"\r\n\r\n")[2]
                await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY))

    async def serve(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):  # Cut by the proxy, because its client was.
            await answer(stream)

    await trio.serve_tcp(serve, port, host="127.0.0.1", task_status=task_status)


async def send_traffic(open_stream: Open, seen: Beside) -> NoReturn:
    """One request after the other on one connection. Raises Unsound for any other answer than the right one."""
    async with await open_stream() as stream:
        while True:
            await ask(stream, seen)
            await trio.sleep(0.002)


async def ask(stream: trio.abc.Stream, seen: Beside) -> None:
    """One request of the traffic. Raises Unsound for any other answer than the right one."""
    began = trio.current_time()
    await stream.send_all(REQUEST)
    answer = b""
    while not answer.endswith(b"\r\n\r\n" + BODY):
        with trio.move_on_after(PATIENCE):
            data = bytes(await stream.receive_some())
            answer += data
            if data and answer.startswith(b"HTTP/1.1 200 "[: len(answer)]):
                continue
        raise Unsound(f"the traffic was answered {answer!r}")
    seen.requests += 1
    seen.slowest = max(seen.slowest, trio.current_time() - began)
