"""Stopping keeps its word: requests finish, the idle leave at once, and the deadline holds for whoever is left."""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from benchmarks.ports import free_port
from tests.e2e.clients import PATIENCE, connect, get, receive_all, receive_until
from tests.e2e.configurations import both_proxies
from tests.e2e.control import Control, ctl_json, line_of, running, socket_of
from tests.e2e.parts import Proxy, StartProxy, wait_until
from tests.e2e.servers import Handle, SlowAnswer, serving
from tests.e2e.websocket import open_websocket, serve_echo

FLOODED = """
[clusters.flood]
protocol = "http"
frontends = [{{ address = "127.0.0.1:{http}", hostname = "*", path = "/flood" }}]
backends = [{{ address = "127.0.0.1:{flood}" }}]
"""
FLOOD = 64 << 20
"""Bytes that no buffers between a backend and its client can hold."""


def flood(sock: socket.socket) -> None:
    """Answer with more than the client will read."""
    receive_until(sock, b"\r\n\r\n")
    sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % FLOOD)
    sock.sendall(bytes(FLOOD))


@dataclass
class Relay:
    """The backend of tcp sessions: greets, and never closes by itself."""

    half_closed: threading.Event = field(default_factory=threading.Event)
    """The client's end of something has come through."""
    over: threading.Event = field(default_factory=threading.Event)

    def __call__(self, sock: socket.socket) -> None:
        sock.sendall(b"hello")
        while data := sock.recv(100):
            sock.sendall(data)
        self.half_closed.set()
        self.over.wait(PATIENCE)


@dataclass
class Site:
    """A proxy with backends of every kind, started with the first lines of its file."""

    start_proxy: StartProxy
    ports: dict[str, int]
    slow: SlowAnswer
    relay: Relay

    def start(self, before: str) -> Proxy:
        http, tcp = free_port(), free_port()
        web, echo, relay, flood = (self.ports[name] for name in ("web", "echo", "relay", "flood"))
        after = FLOODED.format(http=http, flood=flood)
        return self.start_proxy(both_proxies(http, tcp, web=web, echo=echo, relay=relay, before=before, after=after))

    @contextlib.contextmanager
    def clients(self, proxy: Proxy) -> Iterator[list[socket.socket]]:
        """One of each kind that a soft stop leaves alone until its deadline."""
        with contextlib.ExitStack() as stack:
            opened = [stack.enter_context(connect(port)) for port in (proxy.port,) * 4 + (proxy.ports[1],) * 2]
            request, head, unread, upgraded, session, half = opened
            request.sendall(get("/"))
            assert self.slow.asked.wait(PATIENCE)
            head.sendall(b"GET / HTTP/1.1\r\nHost: loc")
            unread.sendall(get("/flood"))
            unread.recv(1)
            upgrade = ("Connection: Upgrade", "Upgrade: websocket", f"Sec-WebSocket-Key: {'A' * 22}==")
            upgraded.sendall(get("/echo", (*upgrade, "Sec-WebSocket-Version: 13")))
            assert receive_until(upgraded, b"\r\n\r\n").startswith(b"HTTP/1.1 101 ")
            for each in (session, half):
                assert receive_until(each, b"hello") == b"hello"
            half.shutdown(socket.SHUT_WR)
            assert self.relay.half_closed.wait(PATIENCE)
            yield opened


@pytest.fixture
def site(start_proxy: StartProxy) -> Iterator[Site]:
    slow, relay = SlowAnswer(), Relay()
    with contextlib.ExitStack() as stack:
        handlers: dict[str, Handle] = {"web": slow, "echo": serve_echo, "flood": flood, "relay": relay}
        ports = {name: stack.enter_context(serving(handle)) for name, handle in handlers.items()}
        stack.callback(relay.over.set)
        stack.callback(slow.answer.set)
        yield Site(start_proxy, ports, slow, relay)


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def ended(sock: socket.socket) -> bool:
    """Whether the connection ends, be it with a reset, after whatever still comes."""
    with contextlib.suppress(ConnectionResetError):
        receive_all(sock)
    return True


@pytest.mark.drill
def test_a_soft_stop_lets_everybody_finish_who_can(site: Site, *, full_drill: bool) -> None:
    """`shutdown_timeout` is for ever, `--drain-timeout` less."""
    request, patience = (5, 10) if full_drill else (0.5, 4)
    proxy = site.start("shutdown_timeout = 0")
    with connect(proxy.port) as idle, connect(proxy.port) as busy, open_websocket(proxy.port, "/echo") as tunnel:
        idle.sendall(get("/"))
        site.slow.answer.set()
        receive_until(idle, b"slow")
        site.slow.asked.clear()
        site.slow.answer.clear()
        busy.sendall(get("/"))
        assert site.slow.asked.wait(PATIENCE)
        began = time.monotonic()
        with running(proxy, "shutdown", "--drain-timeout", str(patience)) as process:
            assert receive_all(idle) == b""
            wait_until(lambda: refuses(proxy.port))
            time.sleep(request)  # as long as the request takes
            site.slow.answer.set()
            answer = receive_all(busy)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert answer.endswith(b"slow")
            assert b"\r\nConnection: close\r\n" in answer
            tunnel.send_message("still there?")
            assert tunnel.receive() == "still there?"
            with contextlib.suppress(ConnectionResetError):
                assert tunnel.receive() is None
            assert time.monotonic() - began >= patience
            assert proxy.wait() == 0
            assert process.wait(PATIENCE) == 0
            *told, last, _ = iter(lambda: line_of(process), "")
    assert last == "stopped: 1 session cut\n"
    assert re.fullmatch(r"1 session left, 1 of them WebSocket, \d+ s\n", told[-1])
    assert "sozu_trio stopped: 1 session cut\n" in proxy.output()


def test_the_deadline_holds_for_every_kind_of_session(site: Site) -> None:
    proxy = site.start("shutdown_timeout = 1.5")
    with site.clients(proxy) as clients, contextlib.closing(Control(socket_of(proxy))) as control:
        began = time.monotonic()
        control.send("shutdown")
        told = control.receive()
        assert told["status"] == "processing"
        assert re.fullmatch(r"6 sessions left, 1 of them WebSocket and 2 TCP, \d s", told["message"])
        seconds = told["content"].pop("seconds")
        assert told["content"] == {"sessions": 6, "websocket": 1, "tcp": 2}
        assert 0 <= seconds < 1
        assert all(ended(client) for client in clients)
        assert time.monotonic() - began >= 1.5
        assert proxy.wait() == 0
    assert "sozu_trio stopped: 6 sessions cut\n" in proxy.output()


@pytest.mark.drill
def test_a_hard_stop_waits_for_nobody(site: Site, *, full_drill: bool) -> None:
    proxy = site.start("shutdown_timeout = 0")
    with site.clients(proxy) as clients, contextlib.closing(Control(socket_of(proxy))) as control:
        began = time.monotonic()
        assert control.ask("shutdown", {"hard": True}) == {"cut": 6}
        assert proxy.wait() == 0
        assert time.monotonic() - began < (1 if full_drill else 10)
        assert all(ended(client) for client in clients)


def test_one_listener_drains_and_the_other_one_serves(site: Site) -> None:
    proxy = site.start("shutdown_timeout = 0")
    http, tcp = proxy.ports
    stop = ("listener", "deactivate", "--address", f"127.0.0.1:{tcp}", "--drain")
    with connect(tcp) as session, connect(tcp) as leaving, open_websocket(http, "/echo") as tunnel:
        for each in (session, leaving):
            assert receive_until(each, b"hello") == b"hello"
        began = time.monotonic()
        with running(proxy, *stop, "--drain-timeout", "2.5") as process:
            wait_until(lambda: refuses(tcp))
            leaving.close()
            site.relay.over.set()
            session.sendall(b"still there?")
            assert receive_until(session, b"?") == b"still there?"
            assert ended(session)
            assert time.monotonic() - began >= 2.5
            assert process.wait(PATIENCE) == 0
            first, *_, cut = iter(lambda: line_of(process), "")
        assert re.fullmatch(r"1 session left, 1 of them TCP, \d s\n", first)
        assert cut.startswith("cut ")
        tunnel.send_message("and you?")
        assert tunnel.receive() == "and you?"
    assert ctl_json(proxy, *stop) == {"generation": 2, "cut": 0}


def test_one_cluster_drains_and_the_others_serve(site: Site) -> None:
    proxy = site.start("shutdown_timeout = 0")
    http, tcp = proxy.ports
    stop = ("cluster", "remove", "--id", "echo", "--drain", "--drain-timeout", "2.5")
    with open_websocket(http, "/echo") as tunnel, open_websocket(http, "/echo") as leaving, connect(tcp) as session:
        assert receive_until(session, b"hello") == b"hello"
        began = time.monotonic()
        with running(proxy, *stop) as process:
            assert re.fullmatch(r"2 sessions left, 2 of them WebSocket, \d s\n", line_of(process))
            leaving.close(1000, "enough")
            assert leaving.receive() is None
            assert leaving.ended()
            tunnel.send_message("still there?")
            assert tunnel.receive() == "still there?"
            assert process.wait(PATIENCE) == 0
            assert time.monotonic() - began >= 2.5
            *_, told, said, _, _ = iter(lambda: line_of(process), "")
        assert re.fullmatch(r"1 session left, 1 of them WebSocket, \d s\n", told)
        assert said == "cluster remove: done; 1 session cut\n"
        site.relay.over.set()
        session.sendall(b"and you?")
        assert receive_until(session, b"?") == b"and you?"
