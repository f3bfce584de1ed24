"""New connections against a small server: what is counted, and what is noticed."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.connections import load_opened
from benchmarks.measure import Work, WrongAnswer

RIGHT = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nright"
WORK = Work(path="/", connections=2, body=b"right", hosts=("bench.example",), anew="plain")


@contextmanager
def serving(*pieces: bytes) -> Iterator[int]:
    """Answers whoever comes in these pieces, one after the other; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener, pieces))
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def serve(listener: socket.socket, pieces: tuple[bytes, ...]) -> None:
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            return
        with sock:
            assert sock.recv(65536).startswith(b"GET / HTTP/1.1\r\nHost: bench.example\r\n")
            for piece in pieces:
                sock.sendall(piece)


@pytest.mark.parametrize("cut", [0, 10, len(RIGHT) - 7, len(RIGHT) - 3])
def test_each_connection_is_counted(cut: int) -> None:
    with serving(RIGHT[:cut], RIGHT[cut:]) as port:
        load = load_opened(port, WORK, 0.1)
    assert load.requests >= 2  # one of each client
    assert 0 < load.p50 <= load.p99 <= load.p999


@pytest.mark.parametrize("answer", [RIGHT[:-1], RIGHT + b"!", RIGHT.replace(b"200", b"503"), b""])
def test_wrong_answers_are_noticed(answer: bytes) -> None:
    with serving(answer) as port, pytest.raises(WrongAnswer, match="was answered"):
        load_opened(port, WORK, 0.1)


def test_nobody_there_is_noticed() -> None:
    with serving(RIGHT) as port:
        pass
    with pytest.raises(WrongAnswer, match="refused"):
        load_opened(port, WORK, 0.1)
