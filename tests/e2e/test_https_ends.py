"""Ends within TLS: a close_notify ends what one side says and not the other; what was cut is never taken for whole."""

import itertools
import queue
import socket
import struct
from pathlib import Path

import pytest

from tests.e2e.clients import PATIENCE, get, receive_until
from tests.e2e.parts import StartProxy
from tests.e2e.secure import Authority, https_proxy
from tests.e2e.servers import serving
from tests.e2e.tls_client import leave, open_tls, reset, say_end

UPGRADE = get("/", ["Connection: Upgrade", "Upgrade: websocket"])
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"

HALVES = (
    (b"Content-Length: 10", b"half"),
    (b"Transfer-Encoding: chunked", b"4\r\nhalf\r\n"),
)
"""Field and first bytes of bodies of which the rest is missing."""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path / "authority")


def receive_to_end(sock: socket.socket) -> tuple[bytes, str]:
    """All that comes, and whether it ended well or was `cut`."""
    received = b""
    try:
        while data := sock.recv(65536):
            received += data
    except ConnectionResetError:
        return received, "cut"
    return received, "ended"


def test_a_client_that_has_said_its_end_still_gets_the_whole_answer(
    start_proxy: StartProxy, authority: Authority
) -> None:
    answers = queue.SimpleQueue[bytes]()

    def answer(sock: socket.socket) -> None:
        receive_until(sock, b"the end")
        sock.sendall(answers.get(timeout=PATIENCE))

    with serving(answer) as backend:
        proxy = start_proxy(https_proxy(backend, authority.write("default", "localhost").lines))
        with open_tls(proxy.port, authority.context) as client:
            client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 7\r\n\r\nthe end")
            client.end()
            answers.put(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1_000_000)
            assert client.receive_all().endswith(b"\r\n\r\n" + b"x" * 1_000_000)


def test_a_tunnel_is_closed_one_way_after_the_other(start_proxy: StartProxy, authority: Authority) -> None:
    """The client's close_notify is the backend's end of file, and the other way round."""

    def answer(sock: socket.socket) -> None:
        receive_until(sock, b"\r\n\r\n")
        sock.sendall(SWITCHED)
        said = receive_to_end(sock)
        sock.sendall(repr(said).encode())
        sock.shutdown(socket.SHUT_WR)

    with serving(answer) as backend:
        proxy = start_proxy(https_proxy(backend, authority.write("default", "localhost").lines))
        with open_tls(proxy.port, authority.context) as client:
            client.send(UPGRADE)
            client.receive_until(b"\r\n\r\n")
            client.send(b"last words")
            client.end()
            assert client.receive_all() == repr((b"last words", "ended")).encode()


def test_a_tunnel_whose_client_vanishes_is_cut_for_the_backend(start_proxy: StartProxy, authority: Authority) -> None:
    heard = queue.SimpleQueue[tuple[bytes, str]]()

    def answer(sock: socket.socket) -> None:
        receive_until(sock, b"\r\n\r\n")
        sock.sendall(SWITCHED)
        heard.put((receive_until(sock, b"words"), "so far"))
        heard.put(receive_to_end(sock))

    with serving(answer) as backend:
        proxy = start_proxy(https_proxy(backend, authority.write("default", "localhost").lines))
        for go in (leave, reset):
            with open_tls(proxy.port, authority.context) as client:
                client.send(UPGRADE)
                client.receive_until(b"\r\n\r\n")
                client.send(b"last words")
                assert heard.get(timeout=PATIENCE) == (b"last words", "so far")
                go(client)
                assert heard.get(timeout=PATIENCE) == (b"", "cut"), go


def test_an_upload_whose_client_vanishes_is_no_whole_one(start_proxy: StartProxy, authority: Authority) -> None:
    """Whatever the framing: the end of the body never comes."""
    heard = queue.SimpleQueue[tuple[bytes, str]]()

    def answer(sock: socket.socket) -> None:
        receive_until(sock, b"half")
        heard.put((b"", "begun"))
        heard.put(receive_to_end(sock))

    with serving(answer) as backend:
        proxy = start_proxy(https_proxy(backend, authority.write("default", "localhost").lines))
        for (framing, begun), go in itertools.product(HALVES, (say_end, leave, reset)):
            with open_tls(proxy.port, authority.context) as client:
                client.send(b"POST / HTTP/1.1\r\nHost: localhost\r\n" + framing + b"\r\n\r\n" + begun)
                assert heard.get(timeout=PATIENCE) == (b"", "begun")
                go(client)
                rest, _ = heard.get(timeout=PATIENCE)
                assert rest in (b"", b"\r\n"), (framing, go)


def test_an_answer_whose_backend_vanishes_is_no_whole_one(start_proxy: StartProxy, authority: Authority) -> None:
    """What has come is passed on, and then the connection ends without a close_notify."""
    cases, passed_on = queue.SimpleQueue[tuple[tuple[bytes, bytes], str]](), queue.SimpleQueue[None]()

    def answer(sock: socket.socket) -> None:
        (framing, begun), how = cases.get(timeout=PATIENCE)
        receive_until(sock, b"\r\n\r\n")
        sock.sendall(b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n" + begun)
        passed_on.get(timeout=PATIENCE)
        if how == "rst":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with serving(answer) as backend:
        proxy = start_proxy(https_proxy(backend, authority.write("default", "localhost").lines))
        for case in itertools.product(HALVES, ("fin", "rst")):
            with open_tls(proxy.port, authority.context) as client:
                cases.put(case)
                client.send(get())
                client.receive_until(b"half")
                passed_on.put(None)
                with pytest.raises(ConnectionError):
                    client.receive_all()
