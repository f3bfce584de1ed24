"""Clients that do one byte a second, a third of them each: in the head of a request, in its body, reading a response.

    python -m benchmarks.slow_clients PORT COUNT SECONDS

Who is cut comes again, so that COUNT are there for SECONDS; after that each stays until it is cut, for GRACE at most.
Prints one JSON object: for each kind how many connections there were, how they ended, and the seconds for which the
longest one lived. Bodies are, by turns, of a length and chunked; of a chunked one it is the line of a chunk size that
trickles. A reader asks for /large, which must be larger than what kernels hold.
"""

import collections
import dataclasses
import errno
import itertools
import json
import resource
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Iterator

import trio

GRACE = 30.0
"""Seconds that a connection may outlive the drill before it counts as one that is never cut."""
SMALL = 4096
"""Bytes of a reader's receive buffer."""
CLOSED = 7
"""TCP_CLOSE, as TCP_INFO has it: so is a connection that was reset."""

HEAD = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: "
LENGTH = b"PUT /upload-length HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
CHUNKED = b"PUT /upload-chunked HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;"
LARGE = b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n"


@dataclasses.dataclass
class Seen:
    """Of one kind of clients."""

    ends: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    """A status, or what went wrong → how often."""
    longest: float = 0.0


async def trickle(sock: trio.socket.SocketType, first: bytes, rest: bytes) -> str:
    """Send `first` slowly and then `rest` again and again; what came back: a status."""
    for byte in itertools.chain(first, itertools.cycle(rest)):
        await sock.send(bytes([byte]))
        with trio.move_on_after(1):
            answer = await sock.recv(4096)
            return answer[9:12].decode("latin-1") if answer else "closed"
    raise AssertionError("nobody comes here")


async def in_head(sock: trio.socket.SocketType) -> str:
    return await trickle(sock, HEAD, b"x")


async def in_length(sock: trio.socket.SocketType) -> str:
    await sock.send(LENGTH)
    return await trickle(sock, b"", b"x")


async def in_chunk_size(sock: trio.socket.SocketType) -> str:
    await sock.send(CHUNKED)
    return await trickle(sock, b"", b"x")


async def reading(sock: trio.socket.SocketType) -> str:
    """What was received before a reset can still be read: whether it has come is asked of the kernel."""
    await sock.send(LARGE)
    while struct.unpack("B", sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)) != (CLOSED,):
        if not await sock.recv(1):
            return "whole"
        await trio.sleep(1)
    return "cut"


async def come_again(
    port: int, client: Callable[[trio.socket.SocketType], Awaitable[str]], seen: Seen, until: float
) -> None:
    while trio.current_time() < until:
        began = trio.current_time()
        with trio.move_on_at(until + GRACE) as scope:
            seen.ends[await once(port, client)] += 1
        if scope.cancelled_caught:
            seen.ends["never cut"] += 1
        seen.longest = max(seen.longest, trio.current_time() - began)


async def once(port: int, client: Callable[[trio.socket.SocketType], Awaitable[str]]) -> str:
    with trio.socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL)
        try:
            await sock.connect(("127.0.0.1", port))
            return await client(sock)
        except OSError as error:
            return "cut" if error.errno in (errno.ECONNRESET, errno.EPIPE) else str(error)


def kinds() -> Iterator[tuple[str, Callable[[trio.socket.SocketType], Awaitable[str]]]]:
    """What each client in turn does."""
    bodies = itertools.cycle((in_length, in_chunk_size))
    while True:
        yield "head", in_head
        yield "body", next(bodies)
        yield "reader", reading


async def crowd(port: int, count: int, seconds: float) -> dict[str, Seen]:
    """All of them, until the last one has gone."""
    all_seen = {"head": Seen(), "body": Seen(), "reader": Seen()}
    until = trio.current_time() + seconds
    async with trio.open_nursery() as nursery:
        for kind, client in itertools.islice(kinds(), count):
            nursery.start_soon(come_again, port, client, all_seen[kind], until)
            await trio.sleep(0.002)  # they need not all come within one turn of anybody's loop
    return all_seen


def main() -> None:
    port, count, seconds = map(int, sys.argv[1:])
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(count + 256, hard)), hard))
    seen = trio.run(crowd, port, count, seconds)
    print(json.dumps({kind: {"ends": each.ends, "longest": round(each.longest, 2)} for kind, each in seen.items()}))


if __name__ == "__main__":
    main()
