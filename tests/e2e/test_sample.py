"""Sōzu's sample configuration, as docs/examples has it, serves when nothing but the addresses is changed."""

import contextlib
from collections.abc import Callable
from pathlib import Path

from benchmarks.ports import free_port
from tests.e2e.clients import connect, curl, receive_until
from tests.e2e.parts import Nginx, Redis, StartProxy

SAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "sozu-sample.toml"
SAY = 'location / {{ return 200 "{}"; }}'


def test_sample_serves_http_and_tcp(
    start_nginx: Callable[[str], Nginx], redis_server: Redis, start_proxy: StartProxy, tmp_path: Path
) -> None:
    first, second = start_nginx(SAY.format("first")), start_nginx(SAY.format("second"))
    with contextlib.closing(Redis(tmp_path / "other-redis")) as other:
        proxy = start_proxy(
            with_ports(
                {8080: free_port(), 8081: free_port(), 1026: first.port, 1027: second.port}
                | {4000: redis_server.port, 4001: other.port}
            )
        )
        http, tcp = proxy.ports
        url = f"http://127.0.0.1:{http}"
        assert {curl(url, "--header", "Host: localhost", "--request-target", "/api/x").body for _ in range(6)} == {
            b"first",
            b"second",
        }
        assert curl(url).status == 200
        assert curl(url, "--header", "Host: any.localhost").status == 200
        assert curl(url, "--header", "Host: localhost").status == 404
        assert curl(url, "--header", "Host: any.localhost", "--request", "DELETE").status == 404
        for _ in range(4):
            with connect(tcp) as client:
                client.sendall(b"PING\r\n")
                assert receive_until(client, b"\r\n") == b"+PONG\r\n"


def with_ports(ports: dict[int, int]) -> str:
    """The sample with other ports on 127.0.0.1; it must name each of them."""
    text = SAMPLE.read_text()
    for old, new in ports.items():
        assert f'"127.0.0.1:{old}"' in text
        text = text.replace(f'"127.0.0.1:{old}"', f'"127.0.0.1:{new}"')
    return text
