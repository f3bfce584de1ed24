"""A client of TLS that says its end and goes on to read, or goes away in the ways in which clients do."""

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from typing import TypeVar

from tests.e2e.clients import connect

Result = TypeVar("Result")


class TlsClient:
    """TLS over a blocking socket, with each step in our hands, as Python's sockets do not read after their end."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, name: str = "localhost") -> None:
        """After the handshake."""
        self.sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=name)
        self._ask(self._tls.do_handshake)

    def send(self, data: bytes) -> None:
        self._tls.write(data)
        self._flush()

    def end(self) -> None:
        """Say that we say no more, by close_notify, and leave the connection open."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self._tls.unwrap()
        self._flush()

    def receive(self) -> bytes:
        """What comes next, b"" for a close_notify. Raises ConnectionError when it ends without one."""
        try:
            return self._ask(self._tls.read, 65536)
        except ssl.SSLZeroReturnError:
            return b""

    def receive_all(self) -> bytes:
        """Until the close_notify."""
        received = b""
        while data := self.receive():
            received += data
        return received

    def receive_until(self, mark: bytes) -> bytes:
        """Until `mark` has come."""
        received = b""
        while mark not in received:
            data = self.receive()
            assert data, received
            received += data
        return received

    def _ask(self, operation: Callable[..., Result], *arguments: int) -> Result:
        while True:
            try:
                result = operation(*arguments)
            except ssl.SSLWantReadError:
                self._flush()
                data = self.sock.recv(65536)
                if not data:
                    raise ConnectionError("the connection has ended without a close_notify") from None
                self._incoming.write(data)
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        if data := self._outgoing.read():
            self.sock.sendall(data)


@contextlib.contextmanager
def open_tls(port: int, context: ssl.SSLContext) -> Iterator[TlsClient]:
    """A client of localhost, connected, while the body runs."""
    with connect(port) as sock:
        yield TlsClient(sock, context)


def say_end(client: TlsClient) -> None:
    """An end that TLS calls a good one, wherever in a message it comes."""
    client.end()


def leave(client: TlsClient) -> None:
    """A bare FIN: of a process that was killed, or of somebody on the way who would cut what was said."""
    client.sock.shutdown(socket.SHUT_WR)


def reset(client: TlsClient) -> None:
    """RST: of a machine that has forgotten us."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()
