"""echo.py WEBSOCKET_PORT TCP_PORT — the backend of the drill: on one port WebSockets, on the other bare TCP; both echo.

A process of its own, for it should cost the clients nothing. TCP is echoed until the client closes its side, and then
to the end.
"""

import sys
from functools import partial

import trio

from benchmarks.upgrade_drill.websocket import FROM_CLIENT, FROM_SERVER, SIZE, accept_for, read_head

READY = "echo ready"
"""What it prints once it serves."""


async def echo_messages(stream: trio.SocketStream) -> None:
    """One WebSocket: every message goes back; whatever else comes is the end."""
    head = await read_head(stream)
    (key,) = [
        line.partition(b": ")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"sec-websocket-key:")
    ]
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    await stream.send_all(upgrade + b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept_for(key))
    received, size = bytearray(), len(FROM_CLIENT) + SIZE
    async for data in stream:
        received += data
        whole = len(received) // size
        frames = [bytes(received[at : at + size]) for at in range(0, whole * size, size)]
        del received[: whole * size]
        if not all(frame.startswith(FROM_CLIENT) for frame in frames):
            return
        if frames:
            await stream.send_all(b"".join(FROM_SERVER + frame[len(FROM_CLIENT) :] for frame in frames))


async def echo_bytes(stream: trio.SocketStream) -> None:
    """One TCP session: all goes back, and the end of it, too."""
    async for data in stream:
        await stream.send_all(data)
    await stream.send_eof()


async def main(websocket_port: int, tcp_port: int) -> None:
    async def messages(stream: trio.SocketStream) -> None:
        try:
            await echo_messages(stream)
        except (trio.BrokenResourceError, ValueError):
            await trio.aclose_forcefully(stream)

    async def streams(stream: trio.SocketStream) -> None:
        try:
            await echo_bytes(stream)
        except trio.BrokenResourceError:
            await trio.aclose_forcefully(stream)

    async with trio.open_nursery() as nursery:
        await nursery.start(partial(trio.serve_tcp, messages, websocket_port, host="127.0.0.1"))
        await nursery.start(partial(trio.serve_tcp, streams, tcp_port, host="127.0.0.1"))
        print(READY, flush=True)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]))
