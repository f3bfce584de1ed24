"""The proxy in this process, and a client and a backend that speak only while its loop sleeps.

What a read finds, and what has to wait, is then the same in every run.
"""

import contextlib
import socket
import ssl
import tempfile
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from benchmarks import browser
from benchmarks.measure import WrongAnswer
from benchmarks.peers import HOST, SMALL
from benchmarks.tls import Certificate
from sozu_trio.config.addresses import Address
from sozu_trio.testing import open_test_proxy

PATIENCE = 10
"""Seconds anything may take."""
KINDS = ("small", "browser", "connection", "tls")
"""Of requests: on a connection that is kept, with a browser's fields, on a new connection each, within TLS."""
ANSWER = (
    b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % len(SMALL) + SMALL
)
CONFIGURATION = """
[[listeners]]
address = "$clients"
{listener}
[clusters.one]
protocol = "http"
frontends = [{{ address = "$clients", hostname = "{host}" }}]
backends = [{{ address = "$backend" }}]
"""


class World:
    """All the proxy talks to, in one thread that is not the loop's: a client and a backend."""

    def __init__(
        self, kind: str, proxy: Address, backend: socket.socket, asleep: threading.Event, trusting: ssl.SSLContext
    ) -> None:
        """`kind` is one of KINDS; `asleep` is set while the loop sleeps."""
        self._proxy, self._listener, self._asleep = proxy, backend, asleep
        self._anew = kind == "connection"
        self._trusting = trusting if kind == "tls" else None
        self._heads = heads_of(kind)
        self._asked = 0
        self._room = bytearray(1 << 16)  # made beforehand, lest it counts as memory of the proxy
        self._client: socket.socket | None = None
        self._backend: socket.socket | None = None

    def ask(self) -> None:
        """One request, until the loop sleeps again. Raises OSError, WrongAnswer."""
        if self._client is None:
            self._client = self._connect()
        self._client.sendall(self._heads[self._asked % len(self._heads)])
        self._asked += 1
        self._answer()
        answer = self._read(self._client, SMALL)
        if not answer.startswith(b"HTTP/1.1 200 ") or not answer.endswith(SMALL):
            raise WrongAnswer(f"the proxy answered {answer[:200]!r}")
        if self._anew:
            self._leave(self._client)
            self._client = None
        self._wait_until_asleep()

    def _answer(self) -> None:
        """As the backend does, once the proxy waits for it."""
        if self._backend is None:
            self._backend, _ = self._listener.accept()
            self._backend.settimeout(PATIENCE)
        if not self._read(self._backend, b"\r\n\r\n"):
            raise WrongAnswer("the proxy has left its backend")
        self._wait_until_asleep()
        self._backend.sendall(ANSWER)

    def _read(self, sock: socket.socket, end: bytes) -> bytes:
        """What comes until `end`, or until the connection's."""
        length = 0
        while not self._room.endswith(end, 0, length) and (count := sock.recv_into(memoryview(self._room)[length:])):
            length += count
        return bytes(self._room[:length])

    def _connect(self) -> socket.socket:
        sock = socket.create_connection((self._proxy.host, self._proxy.port), PATIENCE)
        return self._trusting.wrap_socket(sock, server_hostname=HOST) if self._trusting else sock

    def _leave(self, client: socket.socket) -> None:
        """And wait until the proxy has noticed."""
        client.shutdown(socket.SHUT_WR)
        if client.recv(1):
            raise WrongAnswer("the proxy sent more than the answer")
        client.close()

    def _wait_until_asleep(self) -> None:
        if not self._asleep.wait(PATIENCE):
            raise WrongAnswer("the loop does not come to rest")

    def close(self) -> None:
        for sock in (self._client, self._backend):
            if sock is not None:
                sock.close()


def heads_of(kind: str) -> list[bytes]:
    """Requests, one after the other and then again."""
    if kind != "browser":
        return [f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()]
    return [head.replace(browser.SERIAL, str(at)).encode() for at, head in enumerate(browser.heads(HOST))]


@contextlib.asynccontextmanager
async def open_world(kind: str, asleep: threading.Event) -> AsyncIterator[World]:
    """A proxy that serves, and the world around it; `asleep` is to be set while Trio's loop sleeps."""
    certificate = Certificate("ecdsa")
    with socket.create_server(("127.0.0.1", 0)) as backend, tempfile.TemporaryDirectory() as folder:
        backend.settimeout(PATIENCE)
        certificate.write(Path(folder))
        listener = f'protocol = "https"\ncertificate = "{folder}/certificate.pem"\nkey = "{folder}/key.pem"'
        text = CONFIGURATION.format(listener=listener if kind == "tls" else 'protocol = "http"', host=HOST)
        address = f"127.0.0.1:{backend.getsockname()[1]}"
        async with open_test_proxy(text, log="info", backend=address) as proxy:
            world = World(kind, proxy.addresses["clients"], backend, asleep, certificate.trusting)
            with contextlib.closing(world):
                yield world
