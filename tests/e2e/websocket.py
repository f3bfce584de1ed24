"""One end of a WebSocket over a blocking socket, by wsproto, and a server that echoes."""

import contextlib
import socket
from collections.abc import Iterator
from typing import TypeAlias

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    BytesMessage,
    CloseConnection,
    Event,
    Ping,
    Pong,
    Request,
    TextMessage,
)

from tests.e2e.clients import connect

Message: TypeAlias = str | bytes

GO = "go away"
"""The message at which the echo server closes."""


class WebSocket:
    """One end; `pongs` and `closed` (code and reason) say what else came than messages."""

    def __init__(self, sock: socket.socket, side: ConnectionType) -> None:
        self.pongs: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self._sock = sock
        self._wire = WSConnection(side)
        self._pieces: list[Message] = []

    def send(self, event: Event) -> None:
        self._sock.sendall(self._wire.send(event))

    def send_message(self, message: Message) -> None:
        self.send(TextMessage(data=message) if isinstance(message, str) else BytesMessage(data=message))

    def handshake(self) -> Event:
        """The first event from the other side."""
        while True:
            self._read()
            for event in self._wire.events():
                return event

    def receive(self) -> Message | None:
        """The next message, whole; None when the other side has closed. Pings are answered on the way."""
        while self.closed is None:
            for event in self._wire.events():
                if (message := self._take(event)) is not None:
                    return message
            if self.closed is None:
                self._read()
        return None

    def ping(self, payload: bytes) -> bytes:
        """Send a ping and wait for its pong."""
        self.send(Ping(payload=payload))
        while not self.pongs:
            self._read()
            for event in self._wire.events():
                self._take(event)
        return self.pongs.pop()

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; `receive` then waits for the other side's part."""
        self.send(CloseConnection(code=code, reason=reason))

    def ended(self) -> bool:
        """Wait for the end of the connection itself and close our side of it; False when something else came."""
        last = self._sock.recv(1)
        self._sock.close()
        return last == b""

    def _read(self) -> None:
        data = self._sock.recv(65536)
        self._wire.receive_data(data or None)

    def _take(self, event: Event) -> Message | None:
        if isinstance(event, TextMessage | BytesMessage):
            self._pieces.append(event.data if isinstance(event.data, str) else bytes(event.data))
            if event.message_finished:
                pieces, self._pieces = self._pieces, []
                return type(pieces[0])().join(pieces)  # type: ignore[arg-type]
        elif isinstance(event, Ping):
            self.send(event.response())
        elif isinstance(event, Pong):
            self.pongs.append(bytes(event.payload))
        elif isinstance(event, CloseConnection):
            if self.closed is None and self._wire.state.name == "REMOTE_CLOSING":
                self.send(event.response())
            self.closed = event.code, event.reason or ""
        return None


@contextlib.contextmanager
def open_websocket(port: int, target: str = "/") -> Iterator[WebSocket]:
    """A client, connected and upgraded, while the body runs."""
    with connect(port) as sock:
        client = WebSocket(sock, ConnectionType.CLIENT)
        client.send(Request(host="localhost", target=target))
        assert isinstance(client.handshake(), AcceptConnection)
        yield client


def serve_echo(sock: socket.socket) -> None:
    """A server's side of one connection: every message goes back; at GO it closes with 1001."""
    server = WebSocket(sock, ConnectionType.SERVER)
    assert isinstance(server.handshake(), Request)
    server.send(AcceptConnection())
    while (message := server.receive()) is not None:
        if message == GO:
            server.close(1001, "as you wish")
        else:
            server.send_message(message)
