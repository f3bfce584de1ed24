"""floor_trio.py PORT BACKEND_PORT — the floor of this design: what Trio itself costs for one small exchange.

Looks at nothing it moves: whatever one read brings from the client counts as a request, one read from the backend as
its response. That holds for small bodies and for nothing else.
"""

import socket
import sys

import trio

from benchmarks.sockets import connect, receive, send, serve

READ = 65536

idle: list[socket.socket] = []


async def main(port: int, backend_port: int) -> None:
    async def handle(client: socket.socket) -> None:
        with client:
            try:
                while request := await receive(client, READ):
                    backend = idle.pop() if idle else await connect(backend_port)
                    await send(backend, request)
                    response = await receive(backend, READ)
                    idle.append(backend)
                    await send(client, response)
            except OSError:
                return

    await serve(port, handle)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]))
