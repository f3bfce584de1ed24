"""scripts/fuzz tls [--seconds 60] [--seed N]

Starts a proxy with two https listeners, one of which expects PROXY headers, and sends it traffic, some of which stays
and some of which comes anew. Meanwhile clients send what `fuzz_hellos` makes, and others shake hands and then send what
`fuzz_records` makes. The proxy must say nothing but well-formed records and close in time; the traffic must get its
answers in time; each connection must be counted as a handshake or as a failed one; there must be no traceback in the
log, and the memory must stay what it was.
"""

import argparse
import re
import ssl
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random

import trio

from benchmarks import fuzz_beside
from benchmarks.fuzz_beside import (
    HOST,
    Beside,
    Unsound,
    ask,
    failures_of,
    send_traffic,
    serve_backend,
    serving,
    watch_memory,
)
from benchmarks.fuzz_hellos import Hellos, recorded
from benchmarks.fuzz_records import renegotiate, tamper
from benchmarks.ports import free_port
from benchmarks.processes import Process
from benchmarks.tls import Certificate
from benchmarks.tls_records import read_records
from sozu_trio.control.client import open_client

CLIENTS = 8
LONGEST = 20
"""Seconds a conversation may take; the proxy gives up after PATIENCE."""
PATIENCE = 4
SETTLED = 10
"""Seconds until all that has ended is counted."""
HEADER = b"PROXY TCP4 192.0.2.1 127.0.0.1 1000 443\r\n"


@dataclass
class Figures(Beside):
    """What has been seen."""

    ends: Counter[str] = field(default_factory=Counter)
    """Of conversations: `closed`, `reset`, or `answered` before that."""
    connections: int = 0
    """That said at least one byte where TLS was expected."""
    handshakes: int = 0
    """As the proxy has counted them."""
    failed: Counter[str] = field(default_factory=Counter)
    """As well, by kind."""


@dataclass(frozen=True, slots=True)
class Target:
    """The proxy: where its listeners and its control socket are, and the context of who trusts it."""

    port: int
    proxy_port: int
    socket: Path
    trusting: ssl.SSLContext


def main(options: argparse.Namespace, seed: int) -> list[str]:
    """Fuzz a proxy of our own; what was wrong."""
    figures = Figures()
    wrong = [*run(seed, options.seconds, figures), *fuzz_beside.problems(figures)]
    show(figures)
    return wrong


def run(seed: int, length: float, figures: Figures) -> Iterator[str]:
    certificate = Certificate("ecdsa", HOST)
    with tempfile.TemporaryDirectory(prefix="sozu_trio-fuzz-") as home:
        certificate.write(Path(home))
        target = Target(free_port(), free_port(), Path(home, "sock"), certificate.trusting)
        backend = free_port()
        with serving(configuration(target, backend), Path(home)) as process:
            yield from failures_of(partial(trio.run, fuzz, target, backend, process.pid, seed, length, figures))
            yield from trouble_in(process)


def trouble_in(process: Process) -> Iterator[str]:
    """What the log says that it must not."""
    said = process.output() + process.errors()
    for line in dict.fromkeys(re.findall(r".*(?:Traceback| ERROR (?:MAIN|WRK)|Exception ignored).*", said)):
        yield f"the log says {line!r}"


def show(figures: Figures) -> None:
    ends = ", ".join(f"{count:,} {end}" for end, count in sorted(figures.ends.items()))
    failed = ", ".join(f"{count:,} {kind}" for kind, count in sorted(figures.failed.items()) if count)
    print(f"{sum(figures.ends.values()):,} conversations: {ends}")
    print(f"{figures.connections:,} connections, {figures.handshakes:,} handshakes, failed: {failed}")
    fuzz_beside.show(figures)


def configuration(target: Target, backend: int) -> str:
    listener = f"""
[[listeners]]
protocol = "https"
certificate = "certificate.pem"
key = "key.pem"
request_timeout = {PATIENCE}
front_timeout = {PATIENCE}
"""
    return f"""
command_socket = "{target.socket}"
log_level = "info"
access_logs_target = "file://{target.socket.parent}/access.log"
{listener}address = "127.0.0.1:{target.port}"
{listener}address = "127.0.0.1:{target.proxy_port}"
expect_proxy = true
[clusters.traffic]
protocol = "http"
frontends = [{{ address = "127.0.0.1:{target.port}", hostname = "{HOST}" }}]
backends = [{{ address = "127.0.0.1:{backend}" }}]
"""


async def fuzz(target: Target, backend: int, pid: int, seed: int, length: float, figures: Figures) -> None:
    """Fuzz for `length` seconds. Raises FAILURES, in groups."""
    hellos = recorded()
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_backend, backend)
        nursery.start_soon(send_traffic, partial(open_tls, target, figures), figures)
        nursery.start_soon(watch_memory, pid, length, figures)
        deadline = trio.current_time() + length
        async with trio.open_nursery() as clients:
            clients.start_soon(come_anew_until, deadline, target, figures)
            clients.start_soon(renegotiate_until, deadline, target, figures)
            for number in range(CLIENTS):
                each = f"{seed}-{number}"
                clients.start_soon(converse_until, deadline, target, Hellos(each, hellos), Random(each), figures)
        nursery.cancel_scope.cancel(reason="time is up")
    await add_up(target, figures)


async def open_tls(target: Target, figures: Figures) -> trio.SSLStream[trio.SocketStream]:
    plain = await trio.open_tcp_stream("127.0.0.1", target.port)
    stream = trio.SSLStream(plain, target.trusting, server_hostname=HOST, https_compatible=True)
    figures.connections += 1
    await stream.do_handshake()
    return stream


async def come_anew_until(deadline: float, target: Target, figures: Figures) -> None:
    """As `send_traffic`, on a new connection for each request."""
    while trio.current_time() < deadline:
        with trio.fail_after(LONGEST):
            async with await open_tls(target, figures) as stream:
                await ask(stream, figures)
        await trio.sleep(0.01)


async def renegotiate_until(deadline: float, target: Target, figures: Figures) -> None:
    while trio.current_time() < deadline:
        with trio.fail_after(LONGEST):
            made = await renegotiate(target.port)
        figures.connections += made  # not in one line: others count while it waits
        await trio.sleep(0.5)


async def converse_until(deadline: float, target: Target, hellos: Hellos, chance: Random, figures: Figures) -> None:
    while trio.current_time() < deadline:
        with trio.fail_after(LONGEST):
            if chance.random() < 0.3:
                end = await tamper(target.port, chance)
                figures.connections += 1
            elif chance.random() < 0.3:
                end = await with_header(target.proxy_port, hellos.next(), chance, figures)
            else:
                end = await say(target.port, hellos.next(), chance)
                figures.connections += 1
        figures.ends[end] += 1


async def with_header(port: int, pieces: list[bytes], chance: Random, figures: Figures) -> str:
    """Where a PROXY header is expected: a good one before the rest, one that is cut, or none."""
    match chance.randrange(4):
        case 0:
            return await say(port, [HEADER[: chance.randrange(1, len(HEADER))]], chance)
        case 1:
            return await say(port, [b"\x16", *pieces], chance)
        case 2:
            figures.connections += 1
            return await say(port, [HEADER + pieces[0], *pieces[1:]], chance)
        case _:
            figures.connections += 1
            return await say(port, [HEADER, *pieces], chance)


async def say(port: int, pieces: list[bytes], chance: Random) -> str:
    """One conversation, mostly with an end of ours, else until the proxy has had enough; how it ended.

    Raises Unsound.
    """
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        try:
            for piece in pieces:
                await stream.send_all(piece)
                await trio.sleep(chance.choice((0, 0, 0.001)))
            if chance.random() < 0.98:
                await stream.send_eof()
        except trio.BrokenResourceError:
            pass  # It has closed already; what it said can be read all the same, or not.
        return await read_records(stream)


async def add_up(target: Target, figures: Figures) -> None:
    """Whether every connection was counted, once, and has ended. Raises Unsound."""
    async with open_client(target.socket) as client:
        with trio.move_on_after(SETTLED):
            while not are_counted((await client.ask("metrics get")).content["total"], figures):
                await trio.sleep(0.1)
            return
    failed = sum(figures.failed.values())
    raise Unsound(f"{figures.connections} connections, but {figures.handshakes} handshakes and {failed} failed ones")


def are_counted(metrics: Mapping[str, int], figures: Figures) -> bool:
    """Note in `figures` what the proxy has counted; whether that is all."""
    begin = "tls.handshake.failed."
    figures.handshakes = metrics["tls.handshakes"]
    figures.failed = Counter({name.removeprefix(begin): metrics[name] for name in metrics if name.startswith(begin)})
    return figures.handshakes + sum(figures.failed.values()) == figures.connections
