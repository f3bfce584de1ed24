"""Bytes to a server, and what comes back: as bytes, or read as an HTTP response by h11."""

import socket
import struct
from dataclasses import dataclass, field

import h11
import trio

from sozu_trio.config.addresses import Address

RESET = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Response:
    """One HTTP response, whole."""

    status: int
    fields: dict[bytes, bytes]
    """Lower-case names; of fields sent twice the last."""
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    interim: list[int] = field(default_factory=list)
    """Statuses of the 1xx responses before it."""


class Peer:
    """One end of a TCP connection that remembers what it has read too much."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self._buffer = b""

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data)

    async def send_eof(self) -> None:
        await self.stream.send_eof()

    async def receive_until(self, mark: bytes) -> bytes:
        """Everything up to and including `mark`. Raises EOFError with what came, when the other side closes before."""
        while mark not in self._buffer:
            await self._more()
        found, _, self._buffer = self._buffer.partition(mark)
        return found + mark

    async def receive_exactly(self, count: int) -> bytes:
        while len(self._buffer) < count:
            await self._more()
        found, self._buffer = self._buffer[:count], self._buffer[count:]
        return found

    async def receive_all(self) -> bytes:
        """Everything until the other side closes. A reset raises trio.BrokenResourceError."""
        while data := await self.stream.receive_some(65536):
            self._buffer += data
        found, self._buffer = self._buffer, b""
        return found

    async def _more(self) -> None:
        data = await self.stream.receive_some(65536)
        if not data:
            raise EOFError(self._buffer)
        self._buffer += data

    async def close(self) -> None:
        await self.stream.aclose()

    async def reset(self) -> None:
        """Close with RST."""
        self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        await self.stream.aclose()


class Client(Peer):
    """A client of the proxy."""

    @classmethod
    async def open(cls, address: Address) -> "Client":
        return cls(await trio.open_tcp_stream(address.host, address.port))

    @property
    def address(self) -> Address:
        host, port, *_ = self.stream.socket.getsockname()
        return Address(host, port)

    async def get(self, target: str = "/", host: str = "example.com", **fields: str) -> Response:
        """A GET and its response; underscores in field names stand for hyphens."""
        lines = [f"GET {target} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        await self.send("\r\n".join([*lines, "", ""]).encode())
        return await self.response()

    async def response(self, method: str = "GET") -> Response:
        """The next response, to a request with `method`. Raises h11.RemoteProtocolError for what is none or cut
        short.
        """
        reader = h11.Connection(h11.CLIENT)
        reader.send(h11.Request(method=method, target="/", headers=[("Host", "any")]))
        reader.send(h11.EndOfMessage())
        if self._buffer:
            reader.receive_data(self._buffer)
        interim: list[int] = []
        response: Response | None = None
        while True:
            event = reader.next_event()
            if event is h11.NEED_DATA:
                reader.receive_data(await self.stream.receive_some(65536))
            elif isinstance(event, h11.InformationalResponse):
                interim.append(event.status_code)
            elif isinstance(event, h11.Response):
                response = Response(event.status_code, dict(event.headers), interim=interim)
            elif isinstance(event, h11.Data) and response:
                response.body += event.data
            elif isinstance(event, h11.EndOfMessage) and response:
                response.trailers = list(event.headers)
                self._buffer = reader.trailing_data[0]
                return response
            else:
                raise EOFError(event)
