"""Uploads of both framings to the backend that tells what has arrived, and what is noticed."""

import socket
import threading
import zlib
from collections.abc import Iterator
from dataclasses import replace

import pytest

from benchmarks import upload_backend
from benchmarks.measure import Work, WrongAnswer, check
from benchmarks.uploads import CHUNK, chunked, load_uploads, request

BODY = bytes(range(256)) * 1000
WORK = Work(path="/", connections=2, body=b"0 00000000\n", hosts=("bench.example",), sent=BODY)


@pytest.fixture
def port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=upload_backend.serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def told(port: int, sent: bytes) -> bytes:
    """What the backend answers to exactly these bytes, and to no more of them."""
    with socket.create_connection(("127.0.0.1", port), 10) as sock:
        sock.sendall(sent)
        sock.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: sock.recv(65536), b""))


@pytest.mark.parametrize("framed", [WORK, replace(WORK, chunked=True)])
def test_each_upload_is_counted(port: int, framed: Work) -> None:
    load = load_uploads(port, framed, 0.1)
    assert load.requests >= 2  # one of each client
    assert 0 < load.p50 <= load.p99 <= load.p999


def test_a_request_without_a_body(port: int) -> None:
    check(port, WORK)


@pytest.mark.parametrize("is_chunked", [False, True])
def test_length_and_sum_are_told(port: int, is_chunked: bool) -> None:
    answer = told(port, 2 * request(replace(WORK, chunked=is_chunked)))
    assert answer.count(b"\r\n\r\n%d %08x\n" % (len(BODY), zlib.crc32(BODY))) == 2


@pytest.mark.parametrize(("changed", "by"), [(b"!", b"?"), (b"!", b"")])
def test_what_did_not_arrive_is_noticed(port: int, changed: bytes, by: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    arrived = upload_backend.body
    monkeypatch.setattr(
        upload_backend, "body", lambda *given: (piece.replace(changed, by) for piece in arrived(*given))
    )
    with pytest.raises(WrongAnswer, match="an upload was answered"):
        load_uploads(port, WORK, 0.1)


def test_chunks() -> None:
    assert chunked(b"") == b"0\r\n\r\n"
    whole = chunked(b"a" * (CHUNK + 10))
    assert whole == b"10000\r\n" + b"a" * CHUNK + b"\r\na\r\n" + b"a" * 10 + b"\r\n0\r\n\r\n"


def test_trailers_and_extensions_of_chunks(port: int) -> None:
    head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = told(port, head + b"3;name=value\r\nabc\r\n0\r\nTrailer: yes\r\n\r\n")
    assert answer.endswith(b"3 %08x\n" % zlib.crc32(b"abc"))
