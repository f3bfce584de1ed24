"""bulk_trio.py PORT BACKEND_PORT copy|splice BYTES — a TCP relay: what moving bytes costs.

From backend to client by reads of BYTES, or inside the kernel through a pipe of BYTES; the way up is always copied.
"""

import fcntl
import os
import socket
import sys
from collections.abc import Awaitable, Callable

import trio
from trio.lowlevel import wait_readable, wait_writable

from benchmarks.sockets import connect, receive, send, serve

Move = Callable[[socket.socket, socket.socket, int], Awaitable[None]]

NOW = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK


async def copy(source: socket.socket, sink: socket.socket, size: int) -> None:
    """Move all of `source` to `sink` through our memory, then close that direction."""
    while data := await receive(source, size):
        await send(sink, data)
    sink.shutdown(socket.SHUT_WR)


async def splice(source: socket.socket, sink: socket.socket, size: int) -> None:
    """Move all of `source` to `sink` inside the kernel, then close that direction."""
    pipe_out, pipe_in = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        fcntl.fcntl(pipe_in, fcntl.F_SETPIPE_SZ, size)
        while held := await fill(source, pipe_in, size):
            await empty(pipe_out, sink, held)
        sink.shutdown(socket.SHUT_WR)
    finally:
        os.close(pipe_out)
        os.close(pipe_in)


async def fill(source: socket.socket, pipe_in: int, size: int) -> int:
    while True:
        try:
            return os.splice(source.fileno(), pipe_in, size, flags=NOW)
        except BlockingIOError:
            await wait_readable(source)


async def empty(pipe_out: int, sink: socket.socket, held: int) -> None:
    while held:
        try:
            held -= os.splice(pipe_out, sink.fileno(), held, flags=NOW)
        except BlockingIOError:
            await wait_writable(sink)


async def main(port: int, backend_port: int, down: Move, size: int) -> None:
    async def handle(client: socket.socket) -> None:
        with client, await connect(backend_port) as backend:
            try:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(copy, client, backend, size)
                    nursery.start_soon(down, backend, client, size)
            except* OSError:
                pass

    await serve(port, handle)


if __name__ == "__main__":
    moves: dict[str, Move] = {"copy": copy, "splice": splice}
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]), moves[sys.argv[3]], int(sys.argv[4]))
