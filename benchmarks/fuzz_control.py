"""scripts/fuzz control [--seconds 60] [--seed N] [--socket PATH]

Starts a proxy before a backend, sends it traffic, and meanwhile has clients of its control socket send what
`fuzz_lines` makes. Each line must get exactly one final reply, well-formed, and a failure unless it may be valid. The
traffic must get its answer every time and in time, and the memory of the proxy must stay what it was. Prints figures.

With --socket the proxy is one that runs already, is changed by what happens to be valid, and gets no traffic from here.
"""

import argparse
import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import trio

from benchmarks import fuzz_beside
from benchmarks.fuzz_beside import (
    PATIENCE,
    WARM_UP,
    Beside,
    Unsound,
    failures_of,
    send_traffic,
    serve_backend,
    serving,
    watch_memory,
)
from benchmarks.fuzz_lines import Shots
from benchmarks.ports import free_port
from sozu_trio.control.frames import Lines
from sozu_trio.control.protocol import NoReply, Reply, read_reply

CLIENTS = 8
SHOTS = 40
"""What a client sends before it says goodbye and comes again."""
LARGE_FIRST, LARGE_LATER = 0.5, 0.05
"""Part of the conversations that have a large request, until then and from then on."""
TOO_LONG = b"x" * 3_000_000
"""Bytes of a line that no proxy takes, unless its `max_command_buffer_size` is larger."""


@dataclass
class Figures(Beside):
    """What has been seen."""

    conversations: int = 0
    hang_ups: int = 0
    lines: int = 0
    replies: Counter[str] = field(default_factory=Counter)
    """By status."""


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--socket", type=Path, help="of a proxy that runs already; what is valid changes it")


def main(options: argparse.Namespace, seed: int) -> list[str]:
    """Fuzz the proxy at `options.socket`, or one of our own; what was wrong."""
    figures = Figures()
    wrong = [*run(options.socket, seed, options.seconds, figures), *fuzz_beside.problems(figures)]
    show(figures)
    return wrong


def run(path: Path | None, seed: int, length: float, figures: Figures) -> Iterator[str]:
    if path is not None:
        yield from failures_of(partial(trio.run, fuzz, path, None, seed, length, figures))
        return
    with proxy() as (path, ports):
        yield from failures_of(partial(trio.run, fuzz, path, ports, seed, length, figures))


def show(figures: Figures) -> None:
    said = ", ".join(f"{count:,} {status}" for status, count in sorted(figures.replies.items())) or "none"
    print(f"{figures.conversations:,} conversations, {figures.lines:,} lines, {figures.hang_ups:,} hang-ups")
    print(f"replies: {said}")
    fuzz_beside.show(figures)


@contextmanager
def proxy() -> Iterator[tuple[Path, tuple[int, int]]]:
    """A real proxy: its control socket, and the ports of its listener and of the backend it expects."""
    with tempfile.TemporaryDirectory(prefix="sozu_trio-fuzz-") as home:
        ports, path = (free_port(), free_port()), Path(home, "sock")
        with serving(configuration(path, *ports), Path(home)):
            yield path, ports


def configuration(path: Path, port: int, backend: int) -> str:
    return f"""
command_socket = "{path}"
log_level = "error"
[[listeners]]
protocol = "http"
address = "127.0.0.1:{port}"
[clusters.traffic]
protocol = "http"
frontends = [{{ address = "127.0.0.1:{port}", hostname = "traffic.example" }}]
backends = [{{ address = "127.0.0.1:{backend}" }}]
"""


async def fuzz(path: Path, ports: tuple[int, int] | None, seed: int, length: float, figures: Figures) -> None:
    """Fuzz for `length` seconds. Raises FAILURES, in groups."""
    async with trio.open_nursery() as nursery:
        if ports is not None:
            await nursery.start(serve_backend, ports[1])
            nursery.start_soon(send_traffic, partial(trio.open_tcp_stream, "127.0.0.1", ports[0]), figures)
        nursery.start_soon(watch_memory, await pid_of(path), length, figures)
        nursery.start_soon(never_read, path)
        deadline = trio.current_time() + length
        async with trio.open_nursery() as clients:
            for number in range(CLIENTS):
                clients.start_soon(converse_until, deadline, path, f"{seed}-{number}", figures)
        nursery.cancel_scope.cancel(reason="time is up")


async def converse_until(deadline: float, path: Path, seed: str, figures: Figures) -> None:
    """What many large requests take at once is taken in the first part of the time, before memory is measured."""
    now = trio.current_time()
    warm = now + WARM_UP * (deadline - now)
    shots, chance = Shots(seed), random.Random(seed)
    while trio.current_time() < deadline:
        with trio.fail_after(PATIENCE):
            if chance.random() < 0.1:
                await hang_up(path, shots, figures)
            else:
                large = LARGE_LATER if trio.current_time() > warm else LARGE_FIRST
                await converse(path, shots, chance, large, figures)


async def hang_up(path: Path, shots: Shots, figures: Figures) -> None:
    """Send, and go without reading; with so much unread, the proxy may read no further itself."""
    async with await trio.open_unix_socket(path) as stream:
        with trio.move_on_after(0.1), suppress(trio.BrokenResourceError):
            for _ in range(SHOTS):
                await stream.send_all(shots.next().data)
    figures.hang_ups += 1


async def converse(path: Path, shots: Shots, chance: random.Random, large: float, figures: Figures) -> None:
    """One connection until the proxy closes it: now and then with a very long line, or half of one at the end, and
    with a large request by the chance of `large`.

    Raises Unsound.
    """
    sent = [shots.next() for _ in range(SHOTS)]
    if chance.random() < large:
        sent.insert(chance.randrange(SHOTS), shots.large())
    data = [shot.data for shot in sent]
    if chance.random() < 0.1:
        data.insert(chance.randrange(SHOTS), TOO_LONG + b"\n")
    if chance.random() < 0.2:
        data.append(b'{"v": 1')
    stream_of_bytes = b"".join(data)
    wanted = stream_of_bytes.count(b"\n") + (not stream_of_bytes.endswith(b"\n"))
    allowed = set(ids_in(shot.data for shot in sent if shot.may_succeed))
    async with await trio.open_unix_socket(path) as stream, trio.open_nursery() as nursery:
        nursery.start_soon(shoot, stream, stream_of_bytes)
        finals = await judge(stream, allowed, figures)
    if finals != wanted:
        raise Unsound(f"{wanted} lines got {finals} final replies")
    figures.conversations += 1
    figures.lines += wanted


async def shoot(stream: trio.SocketStream, data: bytes) -> None:
    await stream.send_all(data)
    await stream.send_eof()


def ids_in(pieces: Iterable[bytes]) -> Iterator[str]:
    """The ids of requests, as JSON: 1 and "1" and true are three."""
    for line in b"".join(pieces).split(b"\n"):
        with suppress(ValueError, RecursionError):
            document = json.loads(line)
            if isinstance(document, dict) and "id" in document and document["id"] is not None:
                yield json.dumps(document["id"])


async def judge(stream: trio.SocketStream, allowed: set[str], figures: Figures) -> int:
    """Look at every reply until the proxy closes; how many were final, hello apart. Raises Unsound."""
    lines, finals = Lines(1 << 30), -1
    async for data in stream:
        for line in lines.feed(bytes(data)):
            reply = reply_in(line)
            if finals == -1 and reply.message != "hello":
                raise Unsound(f"no hello: {reply}")
            if finals >= 0 and reply.status != "failure" and json.dumps(reply.id) not in allowed:
                raise Unsound(f"a success, though nothing of this id could succeed: {reply}")
            figures.replies[reply.status] += finals >= 0
            finals += reply.status != "processing"
    if lines.unfinished:
        raise Unsound("the last reply was cut short")
    return finals


def reply_in(line: bytes | None) -> Reply:
    try:
        return read_reply(line or b"")
    except NoReply as error:
        raise Unsound(f"{error}: {line!r:.200}") from error


async def never_read(path: Path) -> None:
    """Ask for much and read nothing, until the proxy has had enough, then again."""
    while True:
        async with await trio.open_unix_socket(path) as stream:
            with suppress(trio.BrokenResourceError):
                while True:
                    await stream.send_all(b'{"v": 1, "id": "events", "verb": "events"}\n{"v": 1}\n')


async def pid_of(path: Path) -> int:
    """Of the proxy's main process, as its hello says. Raises Unsound."""
    lines = Lines(1 << 20)
    async with await trio.open_unix_socket(path) as stream:
        async for data in stream:
            if found := lines.feed(bytes(data)):
                content = reply_in(found[0]).content
                return int(content["pid"])
    raise Unsound("no hello")
