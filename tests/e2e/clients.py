"""Clients of the proxy under test: curl and wrk as programs, and plain blocking sockets."""

import dataclasses
import re
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.parts import require

PATIENCE = 30
"""Seconds any single wait of a test may take."""


@dataclasses.dataclass(frozen=True)
class Answer:
    """What curl got: the final response, and the statuses of interim ones before it."""

    version: str
    status: int
    fields: dict[str, str]
    """Names in lower case; of fields sent twice the last."""
    body: bytes
    interim: list[int]


def run_curl(*arguments: str, given: bytes = b"") -> bytes:
    """Run curl and return its standard output. Fails the test with curl's own words when it fails."""
    command = [require("curl"), "--silent", "--show-error", "--max-time", str(PATIENCE), *arguments]
    run = subprocess.run(command, input=given, capture_output=True, timeout=2 * PATIENCE, check=False)
    assert run.returncode == 0, f"{' '.join(arguments)}: {run.stderr.decode()}"
    return run.stdout


def curl(url: str, *options: str, given: bytes = b"") -> Answer:
    """One request; `given` is curl's standard input."""
    rest = run_curl("--include", *options, url, given=given)
    interim: list[int] = []
    while True:
        head, _, rest = rest.partition(b"\r\n\r\n")
        status_line, *lines = head.decode("latin-1").split("\r\n")
        version, status = status_line.split(" ")[:2]
        if int(status) >= 200:
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
            return Answer(version, int(status), fields, rest, interim)
        interim.append(int(status))


@dataclasses.dataclass(frozen=True)
class Load:
    """What wrk says: requests answered, the slowest in seconds, and what went wrong."""

    requests: int
    slowest: float
    errors: list[str]


def wrk(url: str, *, connections: int, seconds: int) -> Load:
    """Load `url` with wrk for some seconds."""
    return read_wrk(start_wrk(url, connections=connections, seconds=seconds), seconds)


def start_wrk(url: str, *, connections: int, seconds: int, script: Path | None = None) -> "subprocess.Popen[str]":
    """wrk at work, with a script of its Lua; finish with `read_wrk`. What takes longer than PATIENCE is an error."""
    command = [require("wrk"), "-t1", f"-c{connections}", f"-d{seconds}s", f"--timeout={PATIENCE}s"]
    command += [*(["-s", str(script)] if script else []), url]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def read_wrk(process: "subprocess.Popen[str]", seconds: int) -> Load:
    """Wait for wrk to end and read its report."""
    report, _ = process.communicate(timeout=seconds + PATIENCE)
    assert process.returncode == 0, report
    (requests,) = re.findall(r"(\d+) requests in", report)
    (slowest,) = re.findall(r"Latency +\S+ +\S+ +(\S+)", report)
    return Load(int(requests), read_seconds(slowest), re.findall(r"(?:Socket errors|Non-2xx).*", report))


def read_seconds(text: str) -> float:
    """As wrk writes them: 12.34ms."""
    number = re.match(r"[\d.]+", text)
    assert number is not None, text
    return float(number[0]) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60}[text[number.end() :]]


def connect(port: int) -> socket.socket:
    """A connection to 127.0.0.1:`port`; none of its operations waits longer than PATIENCE."""
    return socket.create_connection(("127.0.0.1", port), PATIENCE)


def receive_all(sock: socket.socket) -> bytes:
    """Everything until the other side closes."""
    pieces: list[bytes] = []
    while data := sock.recv(65536):
        pieces.append(data)
    return b"".join(pieces)


def receive_until(sock: socket.socket, mark: bytes) -> bytes:
    """Everything until `mark` has come, or until the other side closes."""
    received = b""
    while mark not in received and (data := sock.recv(65536)):
        received += data
    return received


def get(target: str = "/", fields: Sequence[str] = ()) -> bytes:
    """The bytes of a GET."""
    return "\r\n".join([f"GET {target} HTTP/1.1", "Host: localhost", *fields, "", ""]).encode()
