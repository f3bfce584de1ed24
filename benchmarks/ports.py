"""Ports for those that must know theirs before they listen, such as what a configuration file names.

Where the kernel can choose (port 0) and be asked what it chose, that is the better way.
"""

import contextlib
import fcntl
import os
import socket
import tempfile
from pathlib import Path

PORTS = range(16_384, 32_768)
"""Below those that the kernel hands out (32768 to 60999, ip(7)): no connection comes to sit on one by chance."""


def free_port() -> int:
    """A TCP port nobody listens on at the moment, and that no process of this user is given again before all others."""
    while True:
        port = _next()
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", port))
            return port


def _next() -> int:
    """The next in turn, for all tests and benchmarks that run on this machine."""
    path = Path(tempfile.gettempdir(), f"sozu_trio-next-port-{os.geteuid()}")
    with path.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        port = int(file.read() or PORTS.start)
        file.truncate(0)
        file.write(str(port + 1 if port + 1 in PORTS else PORTS.start))
    return port
