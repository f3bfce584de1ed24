"""One measurement: is the answer right, load it with wrk, is the answer still right.

CPU is read from /proc right before and after the load, so the figure does not depend on what else the machine does;
what the relay does once after its start is over by then.
A wrong status, length or content anywhere raises: a relay that answers wrongly has no speed.
"""

import hashlib
import http.client
import re
import socket
import ssl
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from benchmarks.processes import Process, rests

WARM_UP = 1
"""Seconds of load before the measured one: connections, caches, specialised byte code."""
SCALES = {"us": 1e-3, "ms": 1.0, "s": 1e3, "m": 60e3, "": 1.0, "K": 2.0**10, "M": 2.0**20, "G": 2.0**30, "T": 2.0**40}

SLOWEST = """
function done(summary, latency, requests)
  io.write(string.format("  99.9%%  %.2fus\\n", latency:percentile(99.9)))
end
"""
"""For the end of a wrk script: wrk prints the 99th percentile itself, but none beyond it."""


class WrongAnswer(Exception):
    """What came back is not what the backend sent, or did not come at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Secure:
    """TLS as all of a run must speak it; `context` is a client's."""

    context: ssl.SSLContext
    version: str
    cipher: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What is asked for: `path`, by `connections` clients that go through `hosts`; `body` is the right answer."""

    path: str
    connections: int
    body: bytes
    hosts: tuple[str, ...]
    secure: Secure | None = None
    """None: plain HTTP."""
    script: str = ""
    """The wrk script that makes the requests; empty: the same one for each host."""
    sent: bytes = b""
    """A body to upload; `body` is then the answer to a request without one, of a backend that tells what arrives."""
    chunked: bool = False
    """How it is framed: in chunks, or with Content-Length."""
    anew: Literal["", "plain", "full", "resumed"] = ""
    """A new connection for each request, plain or with a handshake of that kind; empty: they are kept."""

    @property
    def size(self) -> int:
        """Bytes of the body that matters."""
        return len(self.sent or self.body)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a generator has seen: requests/s, latencies in ms."""

    requests: int
    rate: float
    p50: float
    p99: float
    p999: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One measurement: CPU in µs per request over all processes, requests/s, latencies in ms, RSS in bytes."""

    requests: int
    cpu: float
    rate: float
    p50: float
    p99: float
    p999: float
    rss: int


def measure(
    process: Process, port: int, work: Work, seconds: int, load: Callable[[int, Work, int], Load], *, quiet: bool = True
) -> Figures:
    """Load the relay at 127.0.0.1:`port` by `load`; `quiet`: it is to have come to rest before. Raises ProcessTrouble,
    WrongAnswer.
    """
    check(port, work)
    load(port, work, WARM_UP)
    if quiet:
        process.wait_until(rests(), what="come to rest")
    before = process.cpu_seconds()
    seen = load(port, work, seconds)
    spent = process.cpu_seconds() - before
    rss = process.rss()
    check(port, work)
    return Figures(
        requests=seen.requests,
        cpu=1e6 * spent / seen.requests,
        rate=seen.rate,
        p50=seen.p50,
        p99=seen.p99,
        p999=seen.p999,
        rss=rss,
    )


def check(port: int, work: Work) -> None:
    """Ask once for each host. Raises WrongAnswer."""
    for host in work.hosts:
        try:
            status, body = fetch(port, work.path, host, work.secure)
        except (OSError, http.client.HTTPException) as error:
            raise WrongAnswer(f"{host}{work.path}: {error!r}") from error
        if status != 200 or len(body) != len(work.body):
            raise WrongAnswer(
                f"{host}{work.path}: status {status} and {len(body)} bytes, want 200 and {len(work.body)}"
            )
        if hashlib.sha256(body).digest() != hashlib.sha256(work.body).digest():
            raise WrongAnswer(f"{host}{work.path}: the right length, another content")


def fetch(port: int, path: str, host: str, secure: Secure | None) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    if secure is not None:
        connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=secure.context)
    try:
        connection.request("GET", path, headers={"Host": host})
        if secure is not None:
            check_agreed(connection.sock, secure)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def check_agreed(sock: socket.socket, secure: Secure) -> None:
    """Raises WrongAnswer when client and relay have agreed on something else than the others."""
    assert isinstance(sock, ssl.SSLSocket)
    cipher = sock.cipher()
    agreed, wanted = (sock.version(), cipher and cipher[0]), (secure.version, secure.cipher)
    if agreed != wanted:
        raise WrongAnswer(f"agreed on {agreed}, want {wanted}")


def load_kept(port: int, work: Work, seconds: int) -> Load:
    """Run wrk on connections that are kept. Raises WrongAnswer when any answer was missing, short or not 2xx."""
    with tempfile.NamedTemporaryFile(
        "w", suffix=".lua"
    ) as script:  # a file, as wrk reads it once per thread and once more
        script.write((work.script or requests_in_turn(work.hosts)) + SLOWEST)
        script.flush()
        command = [
            "wrk",
            "-t1",
            f"-c{work.connections}",
            f"-d{seconds}s",
            "--timeout",
            "10s",
            "--latency",
            "-s",
            script.name,
        ]
        done = subprocess.run(
            [*command, f"{'https' if work.secure else 'http'}://127.0.0.1:{port}{work.path}"],
            capture_output=True,
            text=True,
            check=False,
        )
    trouble = re.search(r"Socket errors.*|Non-2xx.*", done.stdout)
    if done.returncode or trouble:
        raise WrongAnswer(f"wrk: {trouble[0] if trouble else done.stderr or done.stdout}")
    requests, read = int(found(r"(\d+) requests in", done.stdout)), scaled(found(r", (\S+)B read", done.stdout))
    if not requests or read < 0.99 * requests * len(work.body):  # wrk rounds what it prints
        raise WrongAnswer(f"wrk: {requests} answers of {len(work.body)} bytes, but {read:.0f} bytes read")
    return Load(
        requests=requests,
        rate=float(found(r"Requests/sec:\s+([\d.]+)", done.stdout)),
        p50=scaled(found(r"\s50%\s+(\S+)", done.stdout)),
        p99=scaled(found(r"\s99%\s+(\S+)", done.stdout)),
        p999=scaled(found(r"\s99\.9%\s+(\S+)", done.stdout)),
    )


def requests_in_turn(hosts: tuple[str, ...]) -> str:
    """A wrk script that asks one host after the other; the requests are made once."""
    names = ", ".join(f'"{host}"' for host in hosts)
    return f"""
local requests, turn = {{}}, 0
function init(args)
  for at, host in ipairs({{{names}}}) do requests[at] = wrk.format(nil, nil, {{Host = host}}) end
end
function request()
  turn = turn % #requests + 1
  return requests[turn]
end
"""


def found(pattern: str, report: str) -> str:
    match = re.search(pattern, report)
    if not match:
        raise WrongAnswer(f"wrk printed no {pattern!r}:\n{report}")
    return match[1]


def scaled(text: str) -> float:
    """`1.5ms` in ms, `2.0M` in units: wrk's way to print both."""
    number = text.rstrip("umsKMGT")
    return float(number) * SCALES[text[len(number) :]]
