"""The control socket of a proxy under test: `ctl` as operators run it, and a plain client that sends lines.

The client is written from docs/control-protocol.md alone, with nothing of ours: what any language can do.
"""

import contextlib
import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.clients import PATIENCE
from tests.e2e.parts import Proxy

CTL = (sys.executable, "-m", "sozu_trio", "ctl")


@dataclass(frozen=True)
class Run:
    """What a command did."""

    code: int
    out: str
    err: str


def ctl(proxy: Proxy, *words: str) -> Run:
    """`ctl -c FILE WORDS` in the proxy's folder."""
    command = [*CTL, "-c", str(proxy.file), *words]
    run = subprocess.run(
        command, cwd=proxy.folder, capture_output=True, text=True, timeout=2 * PATIENCE, stdin=subprocess.DEVNULL
    )
    return Run(run.returncode, run.stdout, run.stderr)


def ctl_json(proxy: Proxy, *words: str) -> Any:
    """What `ctl --json` prints. Fails the test with ctl's own words when it fails."""
    run = ctl(proxy, "--json", *words)
    assert run.code == 0, f"{' '.join(words)}: {run.err}"
    return json.loads(run.out)


@contextlib.contextmanager
def running(proxy: Proxy, *words: str) -> "Iterator[subprocess.Popen[str]]":
    """A ctl that takes its time; nothing is left of it after the body."""
    command = [*CTL, "-c", str(proxy.file), *words]
    with subprocess.Popen(command, cwd=proxy.folder, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line_of(process: "subprocess.Popen[str]") -> str:
    """The next line of a `running` ctl; empty when it has ended."""
    assert process.stdout is not None
    return process.stdout.readline()


def socket_of(proxy: Proxy) -> Path:
    """Where it is unless the file says otherwise."""
    return proxy.folder / "sozu.sock"


class Refused(Exception):
    """A failure; `args` are its message and its content."""


class Control:
    """A connection; close it."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE)
        self._lines = self._socket.makefile("rb")
        self._sent = 0
        try:
            self._socket.connect(str(path))
            self.hello = self.receive()["content"]
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._lines.close()
        self._socket.close()

    def send(self, verb: str, body: Mapping[str, Any] | None = None) -> int:
        """Send a request and return its id."""
        self._sent += 1
        request = {"v": 1, "id": self._sent, "verb": verb, "body": body or {}}
        self._socket.sendall(json.dumps(request).encode() + b"\n")
        return self._sent

    def receive(self) -> dict[str, Any]:
        """The next reply. Raises ConnectionError when the proxy has closed."""
        line = self._lines.readline()
        if not line.endswith(b"\n"):
            raise ConnectionError("the proxy has closed the control connection")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def ask(self, verb: str, body: Mapping[str, Any] | None = None) -> Any:
        """The content of the final reply to one request. Raises Refused for a failure."""
        number = self.send(verb, body)
        while (reply := self.receive())["status"] == "processing":
            pass
        assert reply["id"] == number
        if reply["status"] != "ok":
            raise Refused(reply["message"], reply["content"])
        return reply["content"]
