"""Backends of the tests' own: a function per connection, each in a thread."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

from tests.e2e.clients import PATIENCE, receive_until

Handle = Callable[[socket.socket], None]


class ThreadServer:
    """Listens on 127.0.0.1:`port`; `handle` has each connection for itself and may leave closing to us."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._open: set[socket.socket] = set()
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listening.accept()
                sock.settimeout(PATIENCE)
                self._open.add(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with sock, contextlib.suppress(OSError):
            self._handle(sock)
        self._open.discard(sock)

    def close(self) -> None:
        """Stop listening and break what is open."""
        for sock in (self._listening, *self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._listening.close()


@contextlib.contextmanager
def serving(handle: Handle) -> Iterator[int]:
    """The port of a server while the body runs."""
    with contextlib.closing(ThreadServer(handle)) as server:
        yield server.port


def show_head(sock: socket.socket) -> None:
    """Answer each request without a body with its own head."""
    while head := receive_until(sock, b"\r\n\r\n"):
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(head) + head)


class SlowAnswer:
    """A backend's handler that answers when the test says so."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        """A request has come."""
        self.answer = threading.Event()
        """Set it, and the answer goes out."""

    def __call__(self, sock: socket.socket) -> None:
        while receive_until(sock, b"\r\n\r\n"):
            self.asked.set()
            if not self.answer.wait(PATIENCE):
                return  # The test was about a client that gets none.
            sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow")
