"""New connections against a small server of TLS: what is counted, and what is noticed."""

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmarks.handshakes import load_anew, wrong
from benchmarks.measure import Secure, Work, WrongAnswer, check
from benchmarks.tls import CIPHER, VERSION, Certificate

RIGHT = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nright"


@contextmanager
def serving(folder: Path, answer: bytes, tickets: int = 1) -> Iterator[tuple[int, Certificate]]:
    """Answers whoever comes, one after the other; its port, and what it shows."""
    certificate = Certificate("ecdsa", "bench.example")
    certificate.write(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    context.num_tickets = tickets
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener, context, answer))
        thread.start()
        yield listener.getsockname()[1], certificate
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def serve(listener: socket.socket, context: ssl.SSLContext, answer: bytes) -> None:
    while True:
        try:
            plain, _ = listener.accept()
        except OSError:
            return
        try:
            with plain, context.wrap_socket(plain, server_side=True) as sock:
                sock.recv(65536)
                sock.sendall(answer)
                sock.unwrap()
        except OSError:
            pass  # A client that has what it wants goes without a word.


def work(certificate: Certificate, anew: str, cipher: str = CIPHER) -> Work:
    secure = Secure(context=certificate.trusting, version=VERSION, cipher=cipher)
    return Work(path="/", connections=2, body=b"right", hosts=("bench.example",), secure=secure, anew=anew)  # type: ignore[arg-type]


@pytest.mark.parametrize("anew", ["full", "resumed"])
def test_each_connection_is_counted(tmp_path: Path, anew: str) -> None:
    with serving(tmp_path, RIGHT) as (port, certificate):
        load = load_anew(port, work(certificate, anew), 0.2)
    assert load.requests >= 2  # one of each client
    assert 0 < load.p50 <= load.p99 <= load.p999


def test_no_session_to_resume_is_noticed(tmp_path: Path) -> None:
    with serving(tmp_path, RIGHT, tickets=0) as (port, certificate), pytest.raises(WrongAnswer, match="no session"):
        load_anew(port, work(certificate, "resumed"), 0.2)


@pytest.mark.parametrize("answer", [RIGHT[:-1], RIGHT.replace(b"200", b"503"), b""])
def test_wrong_answers_are_noticed(tmp_path: Path, answer: bytes) -> None:
    with serving(tmp_path, answer) as (port, certificate), pytest.raises(WrongAnswer, match="was answered"):
        load_anew(port, work(certificate, "full"), 0.2)


def test_a_handshake_of_the_other_kind_is_noticed(tmp_path: Path) -> None:
    asked = work(Certificate("ecdsa"), "full")
    assert wrong(RIGHT, asked, resumed=True, wanted=True) == ""
    assert "was not resumed" in wrong(RIGHT, asked, resumed=False, wanted=True)
    assert "was resumed" in wrong(RIGHT, asked, resumed=True, wanted=False)


def test_another_cipher_is_a_wrong_answer(tmp_path: Path) -> None:
    with serving(tmp_path, RIGHT) as (port, certificate):
        check(port, work(certificate, "full"))
        with pytest.raises(WrongAnswer, match="agreed on"):
            check(port, work(certificate, "full", cipher="TLS_CHACHA20_POLY1305_SHA256"))
