"""Requests of a browser: each is one, and none comes twice."""

import http.server
import threading

from benchmarks.browser import FIELDS, PATH, POOL, SERIAL, heads, script
from benchmarks.measure import Work, load_kept
from tests.e2e.parts import require

HOST = "bench.example"


class Server(http.server.BaseHTTPRequestHandler):
    """Remembers what it was asked."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    asked: list[tuple[str, list[tuple[str, str]]]]

    def do_GET(self) -> None:
        self.asked.append((self.path, self.headers.items()))
        self.send_response(200)
        self.send_header("Content-Length", "5")
        self.end_headers()
        self.wfile.write(b"right")

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - the parent's name
        pass


def test_every_head_is_a_request_with_all_fields() -> None:
    pool = list(heads(HOST))
    assert len(set(pool)) == POOL
    for head in pool:
        line, *fields, end, after = head.split("\r\n")
        assert line.startswith(f"GET {PATH}")
        assert line.endswith(" HTTP/1.1")
        assert (len(fields), end, after) == (FIELDS, "", "")
        assert [line for line in (line, *fields) if SERIAL in line] == [line, fields[9], fields[12]]
        assert [name for name, _, _ in (each.partition(": ") for each in (fields[9], fields[12]))] == [
            "Referer",
            "Cookie",
        ]


def test_every_run_asks_for_the_same() -> None:
    assert script(HOST) == script(HOST)


def test_no_request_of_wrk_comes_twice() -> None:
    require("wrk")
    Server.asked = []
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        work = Work(path=PATH, connections=2, body=b"right", hosts=(HOST,), script=script(HOST))
        load = load_kept(server.server_port, work, 1)
        server.shutdown()
        thread.join()
    paths, cookies = [path for path, _ in Server.asked], [dict(fields)["Cookie"] for _, fields in Server.asked]
    assert len(paths) >= load.requests > 10
    assert len(set(paths)) == len(set(cookies)) == len(paths)
    assert {len(fields) for _, fields in Server.asked} == {FIELDS}
