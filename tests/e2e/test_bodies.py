"""100 MiB either way, to the byte, while the proxy's memory hardly grows."""

import contextlib
import hashlib
import http.client
import random
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from tests.e2e.clients import PATIENCE, receive_until
from tests.e2e.configurations import http_proxy
from tests.e2e.parts import Nginx, Proxy, StartProxy, require, wait_until
from tests.e2e.servers import serving

MEBIBYTE = 1 << 20
SIZE = 100 * MEBIBYTE
MOST_GROWTH = 20 * MEBIBYTE


@pytest.fixture(scope="module")
def large_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("large") / "file"
    with path.open("wb") as file:
        for _ in range(SIZE // MEBIBYTE):
            file.write(random.randbytes(MEBIBYTE))
    yield path
    path.unlink()


@pytest.fixture
def proxy(nginx: Nginx, start_proxy: StartProxy) -> Proxy:
    return start_proxy(http_proxy(free_port(), nginx.port))


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def test_download(nginx: Nginx, proxy: Proxy, large_file: Path, tmp_path: Path) -> None:
    nginx.files.joinpath("large").hardlink_to(large_file)
    received = tmp_path / "received"
    with proxy.memory() as growth:
        run(require("curl"), "--output", str(received), f"http://127.0.0.1:{proxy.port}/large")
        assert growth() < MOST_GROWTH
    assert digest(received) == digest(large_file)


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_upload(nginx: Nginx, proxy: Proxy, large_file: Path, framing: str) -> None:
    chunked = ("--header", "Transfer-Encoding: chunked") if framing == "chunked" else ()
    with proxy.memory() as growth:
        url = f"http://127.0.0.1:{proxy.port}/stored"
        run(require("curl"), "--upload-file", str(large_file), *chunked, url)
        assert growth() < MOST_GROWTH
    assert digest(nginx.files / "stored") == digest(large_file)


def run(program: str, *arguments: str) -> None:
    command = [program, "--silent", "--show-error", "--fail", "--max-time", str(2 * PATIENCE), *arguments]
    subprocess.run(command, check=True, timeout=3 * PATIENCE)


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_slow_reader(start_proxy: StartProxy, framing: str) -> None:
    source = Source(framing)
    with serving(source) as backend:
        proxy = start_proxy(http_proxy(free_port(), backend))
        client = http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=PATIENCE)
        with proxy.memory() as growth, contextlib.closing(client):
            client.request("GET", "/")
            response = client.getresponse()
            # Nobody reads: the backend must come to a halt, with far less sent than there is.
            wait_until(source.has_halted)
            assert source.sent < SIZE // 2
            received = hashlib.sha256()
            while data := response.read(MEBIBYTE):
                received.update(data)
            assert growth() < MOST_GROWTH
    assert received.hexdigest() == source.digest


class Source:
    """A backend's handler that answers one request with SIZE random bytes and knows how many of them have left."""

    def __init__(self, framing: str) -> None:
        self.sent = 0
        self.digest = ""
        self._framing = framing
        self._seen = (-1, 0)

    def __call__(self, sock: socket.socket) -> None:
        receive_until(sock, b"\r\n\r\n")
        fields = {
            "length": b"Content-Length: %d\r\n" % SIZE,
            "chunked": b"Transfer-Encoding: chunked\r\n",
            "close": b"",
        }
        sock.sendall(b"HTTP/1.1 200 OK\r\n" + fields[self._framing] + b"\r\n")
        hashed = hashlib.sha256()
        for _ in range(SIZE // MEBIBYTE):
            piece = random.randbytes(MEBIBYTE)
            hashed.update(piece)
            self.digest = hashed.hexdigest()
            sock.sendall(b"%x\r\n%b\r\n" % (MEBIBYTE, piece) if self._framing == "chunked" else piece)
            self.sent += MEBIBYTE
        if self._framing == "chunked":
            sock.sendall(b"0\r\n\r\n")

    def has_halted(self) -> bool:
        """Whether as much had been sent the last 50 times somebody asked."""
        sent, times = self._seen
        self._seen = (self.sent, times + 1 if sent == self.sent else 0)
        return self._seen[1] >= 50 and self.sent > 0
