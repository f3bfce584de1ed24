"""https for the proxy under test: an authority, what it has signed, and clients that trust it and nobody else."""

import contextlib
import os
import re
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wsproto import ConnectionType
from wsproto.events import AcceptConnection, Request

from benchmarks.ports import free_port
from tests.e2e.clients import PATIENCE, receive_until
from tests.e2e.parts import require
from tests.e2e.websocket import WebSocket
from tests.tls.parts import Issued, issue

DAY = 86400


class Authority:
    """Signs certificates and keeps all files in `folder`."""

    def __init__(self, folder: Path, name: str = "root") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._root = issue(common_name=name, authority=True, **_times())
        self.file = folder / "authority.pem"
        self.file.write_bytes(self._root.pem)

    def issue(self, *names: str, **how: Any) -> Issued:
        return issue(*names, by=self._root, **{**_times(), **how})

    def write(self, stem: str, *names: str, **how: Any) -> "Files":
        """`stem`.pem and `stem`.key."""
        made = self.issue(*names, **how)
        files = Files(self.folder / f"{stem}.pem", self.folder / f"{stem}.key")
        files.certificate.write_bytes(made.pem)
        files.key.write_bytes(made.key_pem)
        os.chmod(files.key, 0o600)
        return files

    @property
    def context(self) -> ssl.SSLContext:
        """Of a client that trusts this authority alone."""
        context = ssl.create_default_context(cafile=str(self.file))
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF  # Some versions of Python take what was cut for whole.
        return context


@dataclass(frozen=True)
class Files:
    """A certificate and its key, in PEM."""

    certificate: Path
    key: Path

    @property
    def lines(self) -> str:
        """In a table of the configuration."""
        return f'certificate = "{self.certificate}"\nkey = "{self.key}"'


def _times() -> dict[str, Any]:
    return {"begin": time.time() - DAY, "end": time.time() + 90 * DAY}


def https_proxy(backend: int, listener: str, *, before: str = "", frontend: str = "", after: str = "") -> str:
    """A configuration: https on a free port before a backend on 127.0.0.1; the others are lines for their tables."""
    port = free_port()
    return f"""
{before}
[[listeners]]
protocol = "https"
address = "127.0.0.1:{port}"
{listener}
[clusters.web]
protocol = "http"
frontends = [{{ address = "127.0.0.1:{port}", hostname = "*"{frontend} }}]
backends = [{{ address = "127.0.0.1:{backend}" }}]
{after}
"""


def connect_tls(
    port: int, context: ssl.SSLContext, name: str | None = "localhost", session: ssl.SSLSession | None = None
) -> ssl.SSLSocket:
    """A connection after its handshake; an end without close_notify is an error."""
    sock = socket.create_connection(("127.0.0.1", port), PATIENCE)
    try:
        return context.wrap_socket(sock, server_hostname=name, suppress_ragged_eofs=False, session=session)
    except BaseException:
        sock.close()
        raise


@contextlib.contextmanager
def open_secure_websocket(port: int, context: ssl.SSLContext, target: str = "/") -> Iterator[WebSocket]:
    """A client, connected and upgraded within TLS, while the body runs."""
    with connect_tls(port, context) as sock:
        yield begin_websocket(sock, target)


def begin_websocket(sock: ssl.SSLSocket, target: str = "/") -> WebSocket:
    """A client, upgraded, on a connection to localhost."""
    client = WebSocket(sock, ConnectionType.CLIENT)
    client.send(Request(host="localhost", target=target))
    assert isinstance(client.handshake(), AcceptConnection)
    return client


def s_client(port: int, *options: str, given: bytes = b"") -> str:
    """All that `openssl s_client` says; `given` is sent, and then the end."""
    command = [require("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", *options]
    run = subprocess.run(command, input=given, capture_output=True, timeout=PATIENCE, check=False)
    return (run.stdout + run.stderr).decode(errors="replace")


@contextlib.contextmanager
def coming(
    port: int, context: ssl.SSLContext, request: bytes, clients: int = 4, pause: float = 0.0
) -> "Iterator[Coming]":
    """While the body runs clients come, each with a handshake for every request, and some that stay; seconds of
    `pause` after each leave time for what else this process does.
    """
    coming = Coming(port, context, request, pause)
    threads = [threading.Thread(target=coming.come) for _ in range(clients)]
    threads += [threading.Thread(target=coming.stay) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        yield coming
    finally:
        coming.over = True
        for thread in threads:
            thread.join()


class Coming:
    """What became of clients, whose answers have a Content-Length."""

    def __init__(self, port: int, context: ssl.SSLContext, request: bytes, pause: float) -> None:
        self.done = 0
        self.closes = 0
        """Connections that were to stay, and were closed after a response that said so, or with a close_notify."""
        self.failures: list[str] = []
        self.over = False
        self._port = port
        self._context = context
        self._request = request
        self._pause = pause

    def come(self) -> None:
        """One request for each connection."""
        while not self.over:
            try:
                with connect_tls(self._port, self._context) as client:
                    self._ask(client)
            except OSError as error:
                self.failures.append(f"anew: {error!r}")

    def stay(self) -> None:
        """As many requests as the proxy allows."""
        while not self.over:
            try:
                with connect_tls(self._port, self._context) as client:
                    while self._ask(client):
                        if self.over:
                            return
            except OSError as error:
                self.failures.append(f"stayed: {error!r}")

    def _ask(self, client: ssl.SSLSocket) -> bool:
        """Whether there may be another one."""
        client.sendall(self._request)
        answer = receive_until(client, b"\r\n\r\n")
        head, _, body = answer.partition(b"\r\n\r\n")
        found = re.search(rb"(?i)content-length: (\d+)", head)
        length = int(found[1]) if found else -1
        while len(body) < length and (data := client.recv(65536)):
            body += data
        if not head.startswith(b"HTTP/1.1 200") or len(body) != length:
            self.failures.append(repr(answer[:100]))
        self.done += 1
        time.sleep(self._pause)
        if b"onnection: close" not in head:
            return True
        self.closes += 1
        if client.recv(1) != b"":
            self.failures.append("something came after the end")
        return False
