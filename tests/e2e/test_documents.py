"""What README and docs/getting-started.md show is what a newcomer gets."""

import contextlib
import re
from collections.abc import Callable
from pathlib import Path

from benchmarks.processes import free_port
from sozu_trio.cli.demo import welcome
from sozu_trio.config.load import parse_config
from tests.e2e.clients import connect, curl, receive_until
from tests.e2e.parts import Nginx, Redis, StartProxy
from tests.e2e.servers import serving
from tests.e2e.websocket import open_websocket, serve_echo

ROOT = Path(__file__).parents[2]
SAY = 'location / {{ return 200 "{}"; }}'


def configuration(page: str) -> str:
    """All TOML of a page, one piece after the other."""
    return "\n".join(re.findall(r"^```toml\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL))


def with_ports(text: str, ports: dict[int, int]) -> str:
    for old, new in ports.items():
        assert f'127.0.0.1:{old}"' in text
        text = text.replace(f'127.0.0.1:{old}"', f'127.0.0.1:{new}"')
    return text


def test_getting_started(start_nginx: Callable[[str], Nginx], redis_server: Redis, start_proxy: StartProxy) -> None:
    one, two = start_nginx(SAY.format("from one")), start_nginx(SAY.format("from two"))
    with contextlib.ExitStack() as stack:
        ports = {8080: free_port(), 6380: free_port(), 9001: one.port, 9002: two.port}
        ports |= {9003: stack.enter_context(serving(serve_echo)), 9004: redis_server.port}
        proxy = start_proxy(with_ports(configuration("docs/getting-started.md"), ports))
        url = f"http://127.0.0.1:{ports[8080]}/"
        assert [curl(url).body for _ in range(4)] == [b"from one", b"from two"] * 2
        one.close()
        assert [curl(url).body for _ in range(4)] == [b"from two"] * 4
        chat = stack.enter_context(open_websocket(ports[8080], "/chat"))
        chat.send_message("hello")
        assert chat.receive() == "hello"
        redis = stack.enter_context(connect(ports[6380]))
        redis.sendall(b"SET greeting hello\r\n")
        assert receive_until(redis, b"\r\n") == b"+OK\r\n"
        assert f"sozu_trio ready: listening on 127.0.0.1:{min(ports[6380], ports[8080])}, " in proxy.output()


def test_pieces_of_other_pages_are_valid() -> None:
    for page in ("README.md", "docs/operations.md", "docs/routing.md"):
        assert parse_config(configuration(page), page, ROOT).listeners


def test_readme_shows_the_demonstration() -> None:
    assert welcome() in (ROOT / "README.md").read_text()
