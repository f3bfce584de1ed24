"""The blocking side of logging: batches of lines into descriptors, files, datagrams or a TCP connection.

Everything here runs in a worker thread (`telemetry/sink.py`), so it may wait; only `reopen` is for the loop. After an
error an outlet is thrown away and the next batch makes a new one: that is the whole of reconnecting, and the reason a
file that was moved can be reopened.
"""

import os
import re
import select
import socket
import threading
from collections.abc import Callable
from typing import Protocol

from sozu_trio.errors import OperatorError
from sozu_trio.telemetry.targets import File, Standard, Target, Tcp, Udp, UnixDatagram

PATIENCE = 5.0
"""Seconds a socket target may take to accept a connection or a line before the batch is given up."""
DATAGRAM = 8192
"""Bytes of one datagram; longer lines are cut. What rsyslog takes by default, and far from the 64 KiB of UDP."""
_LINE_END = re.compile(r"\n(?!\t)")
"""A traceback belongs to the line it follows."""
FILE_MODE = 0o640
"""Of a log file we create: access lines name people's addresses."""


class Outlet(Protocol):
    """An open way out."""

    def usable(self) -> bool: ...
    def send(self, lines: list[str]) -> None: ...
    def close(self) -> None: ...


class Writer:
    """Writes to one target, opening it when it is not open."""

    def __init__(self, target: Target, connect: Callable[[], Outlet]) -> None:
        self.target = target
        self._connect = connect
        self._outlet: Outlet | None = None
        self._stale = False
        self._busy = threading.Lock()

    def write(self, lines: list[str]) -> None:
        """Write lines and blocks of lines (without the last line feed). May block.

        Raises OSError; how much was written is then unknown.
        """
        with self._busy:
            outlet = self._open()
            try:
                outlet.send(lines)
            except OSError:
                self._discard()
                raise

    def reopen(self) -> None:
        """Have the next write open the target anew. Never blocks."""
        self._stale = True

    def close(self) -> None:
        """Close the target. One that a thread is stuck in stays open, lest its number be reused."""
        if self._busy.acquire(blocking=False):
            try:
                self._discard()
            finally:
                self._busy.release()

    def _open(self) -> Outlet:
        if self._stale or (self._outlet is not None and not self._outlet.usable()):
            self._stale = False
            self._discard()
        if self._outlet is None:
            self._outlet = self._connect()
        return self._outlet

    def _discard(self) -> None:
        outlet, self._outlet = self._outlet, None
        if outlet is not None:
            outlet.close()


def open_target(target: Target) -> Writer:
    """A Writer for `target`, to be closed. A file is opened at once, a socket when there are lines.

    Raises OperatorError when a file cannot be opened.
    """
    writer = Writer(target, lambda: _connect(target))
    if isinstance(target, File):
        try:
            writer.write([])
        except OSError as error:
            raise OperatorError(
                f"log target {target}: cannot open it: {error.strerror} (directories are not created)"
            ) from error
    return writer


def _connect(target: Target) -> Outlet:
    match target:
        case Standard(name):
            return Descriptor(1 if name == "stdout" else 2, owned=False)
        case File(path):
            # Without O_NONBLOCK, opening a named pipe that nobody reads would never return.
            fd = os.open(
                path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK, FILE_MODE
            )
            os.set_blocking(fd, True)
            return Descriptor(fd, owned=True)
        case UnixDatagram(path):
            return Datagrams(_connected(socket.AF_UNIX, socket.SOCK_DGRAM, str(path)))
        case Udp(address):
            family = socket.AF_INET6 if address.is_ipv6 else socket.AF_INET
            return Datagrams(_connected(family, socket.SOCK_DGRAM, (address.host, address.port)))
        case Tcp(address):
            family = socket.AF_INET6 if address.is_ipv6 else socket.AF_INET
            return Stream(_connected(family, socket.SOCK_STREAM, (address.host, address.port)))


def _connected(family: socket.AddressFamily, kind: socket.SocketKind, address: str | tuple[str, int]) -> socket.socket:
    sock = socket.socket(family, kind)
    try:
        sock.settimeout(PATIENCE)
        sock.connect(address)
    except OSError:
        sock.close()
        raise
    return sock


class Descriptor:
    """A file descriptor; ours to close when `owned`."""

    def __init__(self, fd: int, *, owned: bool) -> None:
        self._fd = fd
        self._owned = owned

    def usable(self) -> bool:
        return True

    def send(self, lines: list[str]) -> None:
        data = memoryview(_joined(lines))
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                # Whoever shares our standard output may have made it non-blocking.
                _wait_writable(self._fd)

    def close(self) -> None:
        if self._owned:
            os.close(self._fd)


class Datagrams:
    """A connected datagram socket: one line each, cut to DATAGRAM bytes."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def usable(self) -> bool:
        return True

    def send(self, lines: list[str]) -> None:
        for text in lines:
            for line in _LINE_END.split(text):
                self._sock.send(_cut(_encoded(line)))

    def close(self) -> None:
        self._sock.close()


class Stream:
    """A TCP connection to someone who collects lines and says nothing."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    def usable(self) -> bool:
        # The first write after the peer closed would succeed, and be lost.
        poll = select.poll()
        poll.register(self._sock, select.POLLRDHUP)
        return not poll.poll(0)

    def send(self, lines: list[str]) -> None:
        self._sock.sendall(_joined(lines))

    def close(self) -> None:
        self._sock.close()


def _encoded(line: str) -> bytes:
    return line.encode("utf-8", "backslashreplace")


def _joined(lines: list[str]) -> bytes:
    return _encoded("\n".join([*lines, ""]))


def _cut(data: bytes) -> bytes:
    if len(data) <= DATAGRAM:
        return data
    return data[: DATAGRAM - 3].decode("utf-8", "ignore").encode() + "…".encode()


def _wait_writable(fd: int) -> None:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    poll.poll()
