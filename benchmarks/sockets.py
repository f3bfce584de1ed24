"""Bare non-blocking sockets on Trio, as the reference relays use them: try first, wait only when the kernel says so.

No timeouts, no limits, no checkpoint after an immediate success: this marks what waiting costs, and is no way to
write a server.
"""

import socket
from collections.abc import Awaitable, Callable

import trio
from trio.lowlevel import wait_readable, wait_writable


async def receive(source: socket.socket, size: int) -> bytes:
    """Up to `size` bytes; empty at the end of the stream."""
    while True:
        try:
            return source.recv(size)
        except BlockingIOError:
            await wait_readable(source)


async def send(sink: socket.socket, data: bytes) -> None:
    """All of `data`; nothing is copied when it goes out at once."""
    try:
        sent = sink.send(data)
    except BlockingIOError:
        sent = 0
    if sent == len(data):
        return
    rest = memoryview(data)[sent:]
    while rest:
        await wait_writable(sink)
        rest = rest[sink.send(rest) :]


async def connect(port: int) -> socket.socket:
    """A connection to 127.0.0.1:`port`."""
    sock = prepared(socket.socket())
    try:
        sock.connect(("127.0.0.1", port))
    except BlockingIOError:
        await wait_writable(sock)
    return sock


async def serve(port: int, handle: Callable[[socket.socket], Awaitable[None]]) -> None:
    """One task of `handle` per client of 127.0.0.1:`port`. Never returns."""
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    listener.setblocking(False)
    async with trio.open_nursery() as nursery:
        while True:
            await wait_readable(listener)
            client, _ = listener.accept()
            nursery.start_soon(handle, prepared(client))


def prepared(sock: socket.socket) -> socket.socket:
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock
