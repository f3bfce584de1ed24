"""A TCP cluster before a real Redis, and half-close kept both ways."""

import hashlib
import json
import random
import socket

from benchmarks.ports import free_port
from tests.e2e.clients import connect, receive_all
from tests.e2e.configurations import tcp_proxy
from tests.e2e.parts import Redis, StartProxy, wait_until
from tests.e2e.servers import serving

MEBIBYTE = 1 << 20


def command(*words: bytes) -> bytes:
    """As Redis clients send it (RESP)."""
    return b"*%d\r\n" % len(words) + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words)


def ask(sock: socket.socket, request: bytes, answer: bytes) -> None:
    """Send `request` and require exactly `answer`."""
    sock.sendall(request)
    received = bytearray()
    while len(received) < len(answer) and (data := sock.recv(MEBIBYTE)):
        received += data
    assert bytes(received) == answer


def test_set_and_get(redis_server: Redis, start_proxy: StartProxy) -> None:
    proxy = start_proxy(tcp_proxy(free_port(), redis_server.port))
    with connect(proxy.port) as client:
        ask(client, command(b"SET", b"name", b"value"), b"+OK\r\n")
        ask(client, command(b"GET", b"name"), b"$5\r\nvalue\r\n")


def test_pipeline(redis_server: Redis, start_proxy: StartProxy) -> None:
    proxy = start_proxy(tcp_proxy(free_port(), redis_server.port))
    with connect(proxy.port) as client:
        ask(client, command(b"INCR", b"n") * 5000, b"".join(b":%d\r\n" % n for n in range(1, 5001)))


def test_large_value(redis_server: Redis, start_proxy: StartProxy) -> None:
    proxy = start_proxy(tcp_proxy(free_port(), redis_server.port))
    value = random.randbytes(32 * MEBIBYTE)
    with connect(proxy.port) as client:
        ask(client, command(b"SET", b"large", value), b"+OK\r\n")
        ask(client, command(b"GET", b"large"), b"$%d\r\n%b\r\n" % (len(value), value))


def test_redis_answers_a_client_that_has_shut_its_side(redis_server: Redis, start_proxy: StartProxy) -> None:
    proxy = start_proxy(tcp_proxy(free_port(), redis_server.port))
    with connect(proxy.port) as client:
        client.sendall(command(b"PING"))
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client) == b"+PONG\r\n"


def test_answer_after_the_end_of_the_input(start_proxy: StartProxy) -> None:
    with serving(say_digest) as backend, connect(start_proxy(tcp_proxy(free_port(), backend)).port) as client:
        sent = random.randbytes(3 * MEBIBYTE)
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        assert receive_all(client).decode() == hashlib.sha256(sent).hexdigest()


def say_digest(sock: socket.socket) -> None:
    """A backend that answers only when it has read to the end."""
    sock.sendall(hashlib.sha256(receive_all(sock)).hexdigest().encode())


def test_client_sends_on_after_the_end_of_the_answer(start_proxy: StartProxy) -> None:
    received = []

    def greet_and_listen(sock: socket.socket) -> None:
        sock.sendall(b"hello")
        sock.shutdown(socket.SHUT_WR)
        received.append(receive_all(sock))

    with serving(greet_and_listen) as backend, connect(start_proxy(tcp_proxy(free_port(), backend)).port) as client:
        assert receive_all(client) == b"hello"
        client.sendall(b"good-bye")
        client.close()
        wait_until(lambda: received)
    assert received == [b"good-bye"]


def test_refusing_backend_is_passed_over(redis_server: Redis, start_proxy: StartProxy) -> None:
    proxy = start_proxy(tcp_proxy(free_port(), free_port(), redis_server.port))
    for _ in range(4):
        with connect(proxy.port) as client:
            ask(client, command(b"PING"), b"+PONG\r\n")


def test_session_in_the_access_log(redis_server: Redis, start_proxy: StartProxy) -> None:
    proxy = start_proxy('access_logs_format = "json"\n' + tcp_proxy(free_port(), redis_server.port))
    with connect(proxy.port) as client:
        ask(client, command(b"PING"), b"+PONG\r\n")
    wait_until(lambda: '"TCP"' in proxy.output())
    (line,) = [json.loads(line) for line in proxy.output().splitlines() if '"TCP"' in line]
    assert (line["backend"], line["cluster_id"]) == (f"127.0.0.1:{redis_server.port}", "relay")
    assert (line["bytes_in"], line["bytes_out"], line["message"]) == (len(command(b"PING")), 7, "complete")
