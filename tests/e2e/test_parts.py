"""The support for end-to-end tests itself: real programs serve and end; what is missing is skipped, or fails in CI."""

import socket
import urllib.request
from collections.abc import Callable

import pytest

from tests.e2e.parts import Nginx, Redis, listening_ports, require


def test_nginx_serves_and_takes_files(nginx: Nginx) -> None:
    hello = f"http://127.0.0.1:{nginx.port}/hello"
    urllib.request.urlopen(urllib.request.Request(hello, data=b"hello", method="PUT")).close()
    assert nginx.files.joinpath("hello").read_bytes() == b"hello"
    with urllib.request.urlopen(hello) as response:
        assert response.read() == b"hello"


def test_nginx_takes_lines_of_its_own(start_nginx: Callable[[str], Nginx]) -> None:
    nginx = start_nginx('location = /who { return 200 "$host"; }')
    with urllib.request.urlopen(f"http://127.0.0.1:{nginx.port}/who") as response:
        assert response.read() == b"127.0.0.1"


def test_redis_answers(redis_server: Redis) -> None:
    with socket.create_connection(("127.0.0.1", redis_server.port), 5) as client:
        client.sendall(b"PING\r\n")
        assert client.recv(64) == b"+PONG\r\n"


def test_missing_program_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        require("no-such-program")


def test_missing_program_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        require("no-such-program")


def test_ports_in_the_order_of_the_file() -> None:
    config = """
        listeners = [{ protocol = "http", address = "127.0.0.1:8080" }, { protocol = "tcp", address = "[::1]:6379" }]
        [clusters.api]
        frontends = [{ address = "127.0.0.1:8080" }, { address = "127.0.0.1:9090" }]
    """
    assert listening_ports(config) == (8080, 6379, 9090)
