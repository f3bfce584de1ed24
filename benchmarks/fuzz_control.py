"""fuzz_control.py control [--seconds 60] [--seed N] [--socket PATH] — `scripts/fuzz` calls it.

Starts a proxy before a backend, sends it traffic, and meanwhile has clients of its control socket send what
`fuzz_lines` makes. Each line must get exactly one final reply, well-formed, and a failure unless it may be valid. The
traffic must get its answer every time and in time, and the memory of the proxy must stay what it was. Prints figures.

With --socket the proxy is one that runs already, is changed by what happens to be valid, and gets no traffic from here.
Exit code 1: something was not as it must be; the seed that is printed finds it again.
"""

import argparse
import json
import math
import random
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

import trio

from benchmarks.failures import leaves
from benchmarks.fuzz_lines import Shots
from benchmarks.processes import PAGE, Process, ProcessTrouble, family, free_port, says
from sozu_trio.control.frames import Lines
from sozu_trio.control.protocol import NoReply, Reply, read_reply

CLIENTS = 8
SHOTS = 40
"""What a client sends before it says goodbye and comes again."""
PATIENCE = 60
"""Seconds a conversation, or one request of the traffic, may take."""
WARM_UP = 0.25
"""Part of the time after which memory should have become what it will be."""
LARGE_FIRST, LARGE_LATER = 0.5, 0.05
"""Part of the conversations that have a large request, until then and from then on."""
ALLOWED_GROWTH = 16 << 20
"""Bytes from then on."""
TOO_LONG = b"x" * 3_000_000
"""Bytes of a line that no proxy takes, unless its `max_command_buffer_size` is larger."""
SLOWEST = 1.0
"""Seconds that a request of the traffic may take on a machine where everything here runs at once."""
BODY = b"untouched\n"


class Unsound(Exception):
    """The proxy said or did what it must not."""


FAILURES = (Unsound, ProcessTrouble, OSError, trio.BrokenResourceError, trio.TooSlowError)


@dataclass
class Figures:
    """What has been seen."""

    conversations: int = 0
    hang_ups: int = 0
    lines: int = 0
    replies: Counter[str] = field(default_factory=Counter)
    """By status."""
    requests: int = 0
    """Of the traffic."""
    slowest: float = 0
    """Seconds for one of them."""
    rss: list[int] = field(default_factory=list)
    """Bytes, from when the proxy had warmed up."""


def main() -> None:
    options = command_line()
    seed = random.randrange(2**32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    figures = Figures()
    problems = [*run(options.socket, seed, options.seconds, figures), *growth(figures), *delay(figures)]
    show(figures)
    if problems:
        raise SystemExit("\n".join(f"fuzz failed: {problem}" for problem in problems))


def command_line() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/fuzz", description="Garbage in, failures out.")
    targets = parser.add_subparsers(dest="target", required=True, metavar="control")
    control = targets.add_parser("control", help="the control socket")
    control.add_argument("--seconds", type=seconds, default=60, help="how long (60)")
    control.add_argument("--seed", type=int, help="send what the run with this seed sent (a new one each time)")
    control.add_argument("--socket", type=Path, help="of a proxy that runs already; what is valid changes it")
    return parser.parse_args()


def seconds(text: str) -> float:
    if not 0 < (number := float(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number above 0")
    return number


def run(path: Path | None, seed: int, length: float, figures: Figures) -> Iterator[str]:
    """Fuzz the proxy at `path`, or one of our own; what was wrong."""
    try:
        if path is not None:
            trio.run(fuzz, path, None, seed, length, figures)
        else:
            with proxy() as (path, ports):
                trio.run(fuzz, path, ports, seed, length, figures)
    except FAILURES as error:
        yield repr(error)
    except BaseExceptionGroup as group:
        failures, others = group.split(FAILURES)
        if failures is None or others is not None:
            raise
        yield from (repr(error) for error in leaves(failures))


def growth(figures: Figures) -> Iterator[str]:
    first, last = halves(figures.rss)
    if last - first > ALLOWED_GROWTH:
        yield f"the proxy's memory has grown by more than {ALLOWED_GROWTH >> 20} MiB"


def halves(rss: Sequence[int]) -> tuple[int, int]:
    """What memory fell back to in either half of the time: a large request takes some for as long as it is read."""
    middle = len(rss) // 2
    return min(rss[:middle], default=0), min(rss[middle:], default=0)


def delay(figures: Figures) -> Iterator[str]:
    if figures.slowest > SLOWEST:
        yield f"a request of the traffic took more than {SLOWEST:g} s"


def show(figures: Figures) -> None:
    said = ", ".join(f"{count:,} {status}" for status, count in sorted(figures.replies.items())) or "none"
    print(f"{figures.conversations:,} conversations, {figures.lines:,} lines, {figures.hang_ups:,} hang-ups")
    print(f"replies: {said}")
    if figures.requests:
        print(f"traffic: {figures.requests:,} requests, all answered, the slowest in {figures.slowest * 1000:.0f} ms")
    if figures.rss:
        first, last = (size / 2**20 for size in halves(figures.rss))
        most = max(figures.rss) / 2**20
        print(f"memory of the proxy: {first:.1f} MiB warmed up, {last:.1f} MiB later, {most:.1f} MiB at most")


@contextmanager
def proxy() -> Iterator[tuple[Path, tuple[int, int]]]:
    """A real proxy: its control socket, and the ports of its listener and of the backend it expects."""
    with tempfile.TemporaryDirectory(prefix="sozu_trio-fuzz-") as home:
        ports = free_port(), free_port()
        file, path = Path(home, "config.toml"), Path(home, "sock")
        file.write_text(configuration(path, *ports))
        command = [sys.executable, "-m", "sozu_trio", "serve", "-c", str(file)]
        with Process(command, Path(home), name="sozu_trio") as process:
            process.wait_until(says("sozu_trio ready"))
            yield path, ports
            if process.exit_code is not None:
                raise process.trouble(f"died with exit code {process.exit_code}")
            if code := process.end():
                raise process.trouble(f"ended with exit code {code}")


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
            nursery.start_soon(send_traffic, ports[0], figures)
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


async def watch_memory(pid: int, length: float, figures: Figures) -> NoReturn:
    await trio.sleep(WARM_UP * length)
    while True:
        figures.rss.append(PAGE * sum(int(Path(f"/proc/{each}/statm").read_text().split()[1]) for each in family(pid)))
        await trio.sleep(length / 50)


async def serve_backend(port: int, *, task_status: trio.TaskStatus[Any]) -> None:
    async def answer(stream: trio.SocketStream) -> None:
        received = b""
        async for data in stream:
            received += data
            while b"\r\n\r\n" in received:
                received = received.partition(b"\r\n\r\n")[2]
                await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY))

    await trio.serve_tcp(answer, port, host="127.0.0.1", task_status=task_status)


async def send_traffic(port: int, figures: Figures) -> NoReturn:
    """One request after the other. Raises Unsound for any other answer than the right one."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        while True:
            began = trio.current_time()
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: traffic.example\r\n\r\n")
            answer = b""
            while not answer.endswith(b"\r\n\r\n" + BODY):
                with trio.move_on_after(PATIENCE):
                    data = await stream.receive_some()
                    answer += data
                    if data and answer.startswith(b"HTTP/1.1 200 "[: len(answer)]):
                        continue
                raise Unsound(f"the traffic was answered {answer!r}")
            figures.requests += 1
            figures.slowest = max(figures.slowest, trio.current_time() - began)
            await trio.sleep(0.002)


if __name__ == "__main__":
    main()
