"""A test as systemd: it hears what a service says of itself, and hands listening sockets over to it."""

import fcntl
import os
import socket
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.e2e.clients import PATIENCE
from tests.e2e.parts import Proxy

HAND_OVER = """
import os, sys
given = [int(number) for number in sys.argv[1].split(",")]
for target, number in enumerate(given, 3):
    os.dup2(number, target)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(len(given)))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Only the process itself knows its id before it runs the program."""
OUT_OF_THE_WAY = 100
"""Descriptors from here on are not among the targets."""


class Manager:
    """Its socket, and what has been said over it so far. `folder` holds the proxy's files."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.address = str(folder / "notify")
        self.heard: list[list[str]] = []
        """The lines of each datagram."""
        self._folder = folder
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def start(self, config: str, sockets: Sequence[socket.socket] = (), watchdog: int | None = None) -> Proxy:
        """The proxy, to be closed; `watchdog` in microseconds."""
        environment = {"NOTIFY_SOCKET": self.address, "LISTEN_FDNAMES": ":".join("web" for _ in sockets)}
        if watchdog is not None:
            environment["WATCHDOG_USEC"] = str(watchdog)
        copies = [fcntl.fcntl(sock, fcntl.F_DUPFD_CLOEXEC, OUT_OF_THE_WAY) for sock in sockets]
        prefix = [sys.executable, "-c", HAND_OVER, ",".join(map(str, copies))] if copies else []
        try:
            return Proxy(config, self._folder, environment=environment, prefix=prefix, descriptors=copies)
        finally:
            for copy in copies:
                os.close(copy)

    def hear(self, line: str) -> list[str]:
        """Listen until a datagram has a line that begins with `line`; returns its lines."""
        deadline = time.monotonic() + PATIENCE
        while True:
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            try:
                self.heard.append(self._socket.recv(4096).decode().split("\n"))
            except TimeoutError:
                raise AssertionError(f"never heard: {line}; but {self.heard}") from None
            if any(each.startswith(line) for each in self.heard[-1]):
                return self.heard[-1]

    def hear_the_rest(self) -> list[list[str]]:
        """What waits to be heard."""
        self._socket.setblocking(False)
        rest = []
        while True:
            try:
                rest.append(self._socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                self.heard += rest
                return rest
