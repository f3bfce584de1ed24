"""The real wrk with our script: what it tells of servers that answer wrongly or close."""

import http.server
import itertools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from benchmarks.processes import ProcessTrouble
from benchmarks.upgrade_drill import wrk
from benchmarks.upgrade_drill.keep_alive import Asked
from benchmarks.upgrade_drill.tally import Tally
from tests.e2e.parts import require, wait_until

BODY = b'a "right" \\ answer\n'


class Server(http.server.BaseHTTPRequestHandler):
    """Keeps alive; one answer in ten is as the path says."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    numbers: ClassVar = itertools.count(1)

    def do_GET(self) -> None:
        odd = self.path[1:] if next(self.numbers) % 10 == 0 else ""
        if odd == "vanish":
            self.close_connection = True
            return
        self.send_response(503 if odd == "status" else 200)
        if odd == "close":
            self.send_header("Connection", "close")
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY.replace(b"right", b"wrong") if odd == "body" else BODY)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the parent's name
        pass


class Quiet(http.server.ThreadingHTTPServer):
    """Nobody needs to know that wrk hangs up."""

    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        pass


@contextmanager
def serving() -> Iterator[int]:
    with Quiet(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def loaded(folder: Path, path: str, seconds: float = 0.5, rate: float | None = None) -> wrk.Loaded:
    require("wrk")
    with serving() as port:
        asked = Asked(host="127.0.0.1", port=port, authority="drill.example", target=path, body=BODY)
        with wrk.running(asked, folder, rate) as load:
            time.sleep(seconds)  # how long it loads is what is asked for
            return load.stop()


@pytest.mark.parametrize("odd", ["", "status", "body", "close", "vanish"])
def test_what_it_tells(odd: str, tmp_path: Path) -> None:
    found = loaded(tmp_path, f"/{odd}")
    tally = Tally()
    found.add_to(tally)
    assert found.answers > 20
    assert found.slowest > 0
    assert (tally.failures > 0) == (odd in {"status", "body", "vanish"})
    assert (tally.closed > 0) == (odd in {"close", "vanish"})
    assert bool(tally.reasons) == bool(odd)
    assert tally.requests >= found.answers


def test_its_pace(tmp_path: Path) -> None:
    found = loaded(tmp_path, "/", seconds=1, rate=200)
    assert 50 < found.answers < 300


def test_it_says_nothing(tmp_path: Path) -> None:
    require("wrk")
    asked = Asked(host="127.0.0.1", port=1, authority="drill.example")
    with wrk.running(asked, tmp_path) as load:
        wait_until(lambda: load.ended)
        with pytest.raises(ProcessTrouble, match="unable to connect"):
            load.stop()
