"""Connections that are answered once and stay: who counts as idle, and what each of them takes."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmarks.idle import Memory, check, crowd, table
from benchmarks.measure import WrongAnswer
from benchmarks.peers import SMALL

RIGHT = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(SMALL) + SMALL


@contextmanager
def serving(answer: bytes, times: int = 100) -> Iterator[int]:
    """Answers each connection so often, then closes it; its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept, args=(listener, answer, times))
        accepting.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        accepting.join()


def accept(listener: socket.socket, answer: bytes, times: int) -> None:
    threads = []
    while True:
        try:
            sock, _ = listener.accept()
        except OSError:
            break
        threads.append(threading.Thread(target=serve, args=(sock, answer, times)))
        threads[-1].start()
    for thread in threads:
        thread.join()


def serve(sock: socket.socket, answer: bytes, times: int) -> None:
    with sock:
        while times and sock.recv(65536):
            sock.sendall(answer)
            times -= 1


def test_those_who_stay_are_idle() -> None:
    with serving(RIGHT) as port, crowd(port, 5) as socks:
        assert len(socks) == 5
        check(socks)


def test_who_was_closed_is_not_idle() -> None:
    with serving(RIGHT, times=1) as port, crowd(port, 2) as socks:
        for sock in socks:
            assert sock.recv(1, socket.MSG_PEEK) == b""  # waits for the end
        with pytest.raises(WrongAnswer, match="an idle connection was closed"):
            check(socks)


def test_a_wrong_answer_is_noticed() -> None:
    with (
        serving(RIGHT.replace(b"200", b"503")) as port,
        pytest.raises(WrongAnswer, match="was answered"),
        crowd(port, 1),
    ):
        pass


def test_memory_of_each() -> None:
    memory = Memory(before=20 << 20, after=(20 << 20) + 100 * 1536, clients=100)
    assert memory.each == 1.5
    assert table({"floor": memory})[1] == ("floor", "1.50", "20.0", "20.1")
