"""plain_h11.py PORT BACKEND_PORT — the obvious program: Trio streams with an h11 connection on each side.

Nothing else a proxy needs: no limits, no timeouts, no routing, messages held whole.
"""

import sys
from dataclasses import dataclass

import h11
import trio

Head = h11.Request | h11.Response

FORWARDED_FOR = (b"x-forwarded-for", b"127.0.0.1")


@dataclass(slots=True)
class Side:
    """One connection, and what h11 knows about it."""

    stream: trio.abc.Stream
    state: h11.Connection

    async def next_event(self) -> object:
        while (event := self.state.next_event()) is h11.NEED_DATA:
            self.state.receive_data(bytes(await self.stream.receive_some(65536)))
        return event


idle: list[Side] = []


async def relay(source: Side, sink: Side, head: Head) -> None:
    """Send `head` and what follows it up to the end of its message, in one write."""
    out = sink.state.send(head) or b""
    while True:
        event = await source.next_event()
        if not isinstance(event, h11.Data | h11.EndOfMessage):
            raise h11.LocalProtocolError(f"cannot relay {event!r}")
        out += sink.state.send(event) or b""
        if isinstance(event, h11.EndOfMessage):
            await sink.stream.send_all(out)
            return


async def exchange(client: Side, backend: Side, request: h11.Request) -> None:
    fields = [*request.headers, FORWARDED_FOR]
    await relay(client, backend, h11.Request(method=request.method, target=request.target, headers=fields))
    response = await backend.next_event()
    if not isinstance(response, h11.Response):
        raise h11.LocalProtocolError(f"want a response, got {response!r}")
    await relay(backend, client, response)
    backend.state.start_next_cycle()
    client.state.start_next_cycle()


async def main(port: int, backend_port: int) -> None:
    async def connect() -> Side:
        return Side(await trio.open_tcp_stream("127.0.0.1", backend_port), h11.Connection(h11.CLIENT))

    async def handle(stream: trio.SocketStream) -> None:
        client = Side(stream, h11.Connection(h11.SERVER))
        try:
            while isinstance(request := await client.next_event(), h11.Request):
                backend = idle.pop() if idle else await connect()
                await exchange(client, backend, request)
                idle.append(backend)
        except (trio.BrokenResourceError, h11.ProtocolError):
            return
        finally:
            await stream.aclose()

    await trio.serve_tcp(handle, port, host="127.0.0.1")


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]))
