"""What README, the pages under docs/ and their examples show is what a newcomer gets."""

import contextlib
import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

from benchmarks.ports import free_port
from sozu_trio.cli.demo import welcome
from sozu_trio.config.load import parse_config
from tests.e2e.clients import connect, curl, receive_until
from tests.e2e.control import ctl_json
from tests.e2e.parts import Nginx, Redis, StartProxy
from tests.e2e.servers import serving
from tests.e2e.transcripts import EXAMPLES, Terminal, copy_examples, pieces
from tests.e2e.websocket import open_websocket, serve_echo

ROOT = Path(__file__).parents[2]
EXAMPLE_PORTS = (8080, 6380, 8088, 8089)
"""Where the examples listen."""
SOZU_KINDS = {
    *("ADD_HTTP_LISTENER", "ADD_TCP_LISTENER", "ACTIVATE_LISTENER", "ADD_CLUSTER"),
    *("ADD_HTTP_FRONTEND", "ADD_TCP_FRONTEND", "ADD_BACKEND"),
}
CLIENTS_AND_SERVERS = ("mkdir", "echo", "python3", "venv", "redis-cli", "alias")
"""Commands that the test stands in for."""
SAY = 'location / {{ return 200 "{}"; }}'


def configuration(page: str) -> str:
    """All TOML of a page, one piece after the other."""
    return "\n".join(re.findall(r"^```toml\n(.*?)^```", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL))


def with_ports(text: str, ports: dict[int, int]) -> str:
    for old, new in ports.items():
        assert f'127.0.0.1:{old}"' in text
        text = text.replace(f'127.0.0.1:{old}"', f'127.0.0.1:{new}"')
    return text


def test_getting_started(start_nginx: Callable[[str], Nginx], redis_server: Redis, tmp_path: Path) -> None:
    one, two, three = (start_nginx(SAY.format(f"from {name}\\n")) for name in ("one", "two", "three"))
    with contextlib.ExitStack() as stack:
        ports = {8080: free_port(), 6380: free_port(), 9001: one.port, 9002: two.port, 9005: three.port}
        ports |= {9003: stack.enter_context(serving(serve_echo)), 9004: redis_server.port}
        by_hand: dict[str, Callable[[], object]] = {**dict.fromkeys(CLIENTS_AND_SERVERS, dict), "kill %1": one.close}
        terminal = stack.enter_context(contextlib.closing(Terminal(tmp_path, ports, by_hand)))
        for piece in pieces("docs/getting-started.md", "## 2. ", "## 6. "):
            terminal.play(piece)
        url = f"http://127.0.0.1:{ports[8080]}/"
        assert {curl(url).body for _ in range(9)} == {b"from two\n", b"from three\n"}
        chat = stack.enter_context(open_websocket(ports[8080], "/chat"))
        chat.send_message("hello")
        assert chat.receive() == "hello"
        redis = stack.enter_context(connect(ports[6380]))
        redis.sendall(b"SET greeting hello\r\n")
        assert receive_until(redis, b"\r\n") == b"+OK\r\n"


def test_pieces_of_other_pages_are_valid() -> None:
    for page in ("README.md", "docs/https.md", "docs/operations.md", "docs/routing.md"):
        assert parse_config(configuration(page), page, ROOT).listeners


def test_readme_shows_the_demonstration() -> None:
    authority = Path("/home/me/sozu_trio/sozu.sock.d/authority.pem")
    assert welcome(authority) in (ROOT / "README.md").read_text()


def test_state(tmp_path: Path) -> None:
    with contextlib.closing(Terminal(tmp_path, {port: free_port() for port in EXAMPLE_PORTS})) as terminal:
        for piece in pieces("docs/state.md"):
            terminal.play(piece)


def test_examples_of_changes_say_the_same() -> None:
    assert json.loads((EXAMPLES / "changes.json").read_text()) == tomllib.loads((EXAMPLES / "changes.toml").read_text())


def test_example_of_a_sozu_state_has_records_of_every_kind_that_is_built() -> None:
    data = (EXAMPLES / "sozu-state.json").read_bytes()
    records = [json.loads(record) for record in data.split(b"\n\0")[:-1]]
    assert data.endswith(b"\n\0")
    assert [record["id"] for record in records] == [f"SAVE-{number}" for number in range(len(records))]
    assert {kind for record in records for kind in record["content"]["request_type"]} == SOZU_KINDS


def test_examples_serve(
    start_nginx: Callable[[str], Nginx], redis_server: Redis, start_proxy: StartProxy, tmp_path: Path
) -> None:
    one, two = start_nginx(SAY.format("one")), start_nginx(SAY.format("two"))
    ports = {port: free_port() for port in EXAMPLE_PORTS} | {9001: one.port, 9002: two.port, 9004: redis_server.port}
    proxy = start_proxy(f'[[listeners]]\nprotocol = "http"\naddress = "127.0.0.1:{ports[8080]}"\n')
    examples = copy_examples(tmp_path, ports)
    assert ctl_json(proxy, "apply", "-f", str(examples / "changes.json")) == {"generation": 2, "changes": 10}
    ctl_json(proxy, "rollback", "1")
    assert ctl_json(proxy, "apply", "-f", str(examples / "changes.toml")) == {"generation": 4, "changes": 10}
    assert ctl_json(proxy, "state", "load", "-f", str(examples / "sozu-state.json"))["objects"] == 11
    for port, host, path, expected in (
        (8080, "api.example", "/v1/x", (200, b"one")),
        (8080, "api.example", "/v1/internal", (401, None)),
        (8088, "app.example", "/private", (401, None)),
        (8088, "www.app.example", "/v1/x", (200, None)),
        (8088, "www.app.example", "/", (404, None)),
    ):
        answer = curl(f"http://127.0.0.1:{ports[port]}{path}", "--header", f"Host: {host}")
        assert answer.status == expected[0]
        assert expected[1] in (None, answer.body)
    for port in (6380, 8089):
        with connect(ports[port]) as redis:
            redis.sendall(b"PING\r\n")
            assert receive_until(redis, b"\r\n") == b"+PONG\r\n"
