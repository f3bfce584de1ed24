"""What counts as a right answer, and how wrk's figures are read."""

import http.server
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.measure import SLOWEST, Load, Work, WrongAnswer, check, found, measure, requests_in_turn, scaled
from benchmarks.ports import free_port
from benchmarks.processes import Process

ANSWERS = {"/right": (200, b"right"), "/other": (200, b"wrong"), "/short": (200, b"rig"), "/missing": (404, b"right")}


class Backend(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, body = ANSWERS[self.path]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the parent's name
        pass


@pytest.fixture
def port() -> Iterator[int]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def asking(path: str) -> Work:
    return Work(path=path, connections=1, body=b"right", hosts=("bench.example",))


def test_right_answer(port: int) -> None:
    check(port, asking("/right"))


@pytest.mark.parametrize(
    ("path", "why"),
    [("/other", "another content"), ("/short", "status 200 and 3 bytes"), ("/missing", "status 404 and 5 bytes")],
)
def test_wrong_answer(port: int, path: str, why: str) -> None:
    with pytest.raises(WrongAnswer, match=why):
        check(port, asking(path))


def test_no_answer() -> None:
    with pytest.raises(WrongAnswer, match="ConnectionRefusedError"):
        check(free_port(), asking("/right"))


@pytest.mark.parametrize(
    ("text", "value"), [("12.50us", 0.0125), ("3.00ms", 3), ("1.5s", 1500), ("2.00M", 2 << 20), ("17", 17)]
)
def test_figures_of_wrk(text: str, value: float) -> None:
    assert scaled(text) == pytest.approx(value)


def test_figure_that_is_not_there() -> None:
    with pytest.raises(WrongAnswer, match="wrk printed no"):
        found(r"(\d+) requests in", "wrk: an error")


def test_hosts_take_turns() -> None:
    assert 'ipairs({"a.example", "b.example"})' in requests_in_turn(("a.example", "b.example"))


def test_each_script_says_the_slowest_of_a_thousand() -> None:
    assert "latency:percentile(99.9)" in SLOWEST
    report = "     99%    4.00ms\n  99.9%  8500.00us\n"
    assert scaled(found(r"\s99%\s+(\S+)", report)) == 4
    assert scaled(found(r"\s99\.9%\s+(\S+)", report)) == pytest.approx(8.5)


def test_who_never_rests_is_measured_all_the_same(port: int, tmp_path: Path) -> None:
    def load(port: int, work: Work, seconds: int) -> Load:
        return Load(requests=1, rate=1, p50=1, p99=1, p999=1)

    with Process([sys.executable, "-c", "while True: pass"], tmp_path) as busy:
        assert measure(busy, port, asking("/right"), 1, load, quiet=False).requests == 1
